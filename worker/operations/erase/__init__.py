"""Wipe and forget: records removed and states reset."""
