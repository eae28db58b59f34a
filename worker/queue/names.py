"""The names and priorities of the queues, and the time limits of tasks."""

from __future__ import annotations

LIVE = "live"  # saves, one item per message
SWEEP = "sweep"  # items found by the sweep, one per message
BULK = "bulk"  # batches of one account
FRONT, OVERFLOW = 0, 9  # priorities; OVERFLOW lists are read when all FRONT lists are empty
MAX_COUNTDOWN = 30.0  # seconds; for longer waits, the sweep enqueues the item at `retryAt`
SOFT_LIMIT = 75
HARD_LIMIT = 90
BATCH_SOFT_LIMIT = 150
BATCH_HARD_LIMIT = 180
MAX_IN_FLIGHT_SECONDS = BATCH_HARD_LIMIT + MAX_COUNTDOWN
_PRIORITY_SEPARATOR = "\x06\x16"  # kombu's


def redis_list(queue: str, priority: int) -> str:
    """Return the Redis list of a queue and priority, like kombu's `_q_for_pri`."""
    return f"{queue}{_PRIORITY_SEPARATOR}{priority}" if priority else queue


def queue_of(name: str) -> str:
    """Return the name of the queue that a Redis list belongs to."""
    return name.partition(_PRIORITY_SEPARATOR)[0]
