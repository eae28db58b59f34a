"""Wipe or erase accounts: remove their records and reset their states."""
