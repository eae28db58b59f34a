"""Sync many documents of one account together."""
