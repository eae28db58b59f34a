"""The status page: what the operator asks about items, in a browser."""
