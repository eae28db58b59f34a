"""The names of the queues, their priorities and the limits of their tasks."""

from __future__ import annotations

LIVE = "live"  # saves, one item per message
SWEEP = "sweep"  # items found by the sweep, one per message
BULK = "bulk"  # batches of one account
FRONT, OVERFLOW = 0, 9  # priorities: overflow is taken when no queue has messages in front
MAX_COUNTDOWN = 30.0  # seconds; after a longer wait (`retryAt`) the sweep enqueues the item
SOFT_LIMIT = 75
HARD_LIMIT = 90
BATCH_SOFT_LIMIT = 150
BATCH_HARD_LIMIT = 180
MAX_IN_FLIGHT_SECONDS = BATCH_HARD_LIMIT + MAX_COUNTDOWN
_PRIORITY_SEPARATOR = "\x06\x16"  # kombu's


def redis_list(queue: str, priority: int) -> str:
    """Return the Redis list for a queue and a priority, as kombu's `_q_for_pri` does."""
    return f"{queue}{_PRIORITY_SEPARATOR}{priority}" if priority else queue


def queue_of(name: str) -> str:
    """Return the queue of a Redis list."""
    return name.partition(_PRIORITY_SEPARATOR)[0]
