"""Backfill, restore and retry: which documents, in batches of one account."""
