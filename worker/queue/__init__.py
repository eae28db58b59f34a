"""Redis and Celery: names, configuration, message checks, transport."""
