"""Measurements of bulk work: backfill, restore and audit beside the raw calls and the old way."""
