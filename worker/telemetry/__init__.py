"""Logs, Sentry alerts, redaction of secrets, metrics and the heartbeat file."""
