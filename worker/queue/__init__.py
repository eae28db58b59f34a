"""The message queue: Celery configuration, transport and message checks."""
