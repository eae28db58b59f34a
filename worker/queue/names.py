"""The names of the queues, their priorities and the limits of their tasks."""

from __future__ import annotations

LIVE = "live"  # saves, one item a message
SWEEP = "sweep"  # what the sweep has found, one item a message
BULK = "bulk"  # batches of one account
FRONT, OVERFLOW = 0, 9  # priorities: overflow is taken when no queue has anything in front
MAX_COUNTDOWN = 30.0  # seconds; a longer wait is `retryAt` in MongoDB and the sweep's
SOFT_LIMIT = 75
HARD_LIMIT = 90
BATCH_SOFT_LIMIT = 150
BATCH_HARD_LIMIT = 180
MAX_IN_FLIGHT_SECONDS = BATCH_HARD_LIMIT + MAX_COUNTDOWN  # that a worker may keep a message
_PRIORITY_SEPARATOR = "\x06\x16"  # kombu's


def redis_list(queue: str, priority: int) -> str:
    """Return the name of the Redis list where messages of a priority wait: kombu's `_q_for_pri`."""
    return f"{queue}{_PRIORITY_SEPARATOR}{priority}" if priority else queue


def queue_of(name: str) -> str:
    """Return the queue of which a Redis list is a part."""
    return name.partition(_PRIORITY_SEPARATOR)[0]
