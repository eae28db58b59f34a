"""How much all workers have in hand: what they are at, and what they keep until its time.

A message that waits for its time is held in a worker's memory, whatever the prefetch limit.
"""

from __future__ import annotations

import logging

from redis import Redis
from redis.exceptions import RedisError

IN_HAND = "unacked"  # kombu's name for what was delivered and not acknowledged yet
_MOST = 500  # some 5 MB

log = logging.getLogger(__name__)


class Hands:
    """Tells whether one more message may be kept waiting. Without Redis, none could be sent."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def have_room(self) -> bool:
        """Tell whether workers have few enough messages in hand."""
        try:
            return int(self._redis.hlen(IN_HAND)) < _MOST
        except RedisError as error:
            log.debug("what is in hand was not counted (%s)", type(error).__name__)
            return False
