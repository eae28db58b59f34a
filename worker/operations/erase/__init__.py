"""Wipe and forget accounts: remove records and reset states."""
