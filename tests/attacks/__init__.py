"""Attacks of findings F and B8: each test performs the attack."""
