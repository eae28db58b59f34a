"""Backfill, restore and retry: select documents, and enqueue them in batches."""
