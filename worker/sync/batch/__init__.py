"""Bulk work: the same engine over many documents of one account."""
