"""Restrictions on network access: allowed hosts and addresses, limits, deadlines."""
