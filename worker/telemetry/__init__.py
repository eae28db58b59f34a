"""Logs, Sentry, redaction, metrics and the heartbeat."""
