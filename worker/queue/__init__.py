"""Redis and Celery: names, configuration, checks of messages, the worker's transport."""
