"""Throttle bulk writes during live traffic.

A PDS carries out one write after the other, so a save waits for the writes before it. During live
traffic, all workers together send small chunks, one at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.exceptions import LockError, RedisError

_KEY = "media-atproto:live"
_SLOT = "media-atproto:bulk-turn"
_REMEMBERED = 5  # seconds after a save in which batches are throttled
_MAX_WRITES = 100  # per call: the fastest per record
_THROTTLED_WRITES = 20
_MAX_UPLOADS = 8  # at a time; more are not faster
_THROTTLED_UPLOADS = 2
_MAX_SLOT = 20  # seconds

log = logging.getLogger(__name__)


class BulkThrottle:
    """Limits how much batches send at a time. Without Redis they are not throttled."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def note_live_traffic(self) -> None:
        """Throttle all batches for a few seconds, because a save has arrived."""
        try:
            self._redis.set(_KEY, 1, ex=_REMEMBERED)
        except RedisError as error:
            log.debug("batches not throttled (%s)", type(error).__name__)

    def uploads(self) -> int:
        """Return how many blobs a batch uploads at a time."""
        return _THROTTLED_UPLOADS if self._is_throttled() else _MAX_UPLOADS

    @contextmanager
    def slot(self) -> Iterator[int]:
        """Yield the number of writes to send; during live traffic, wait for the one slot."""
        if not self._is_throttled():
            yield _MAX_WRITES
            return
        lock = self._redis.lock(_SLOT, timeout=_MAX_SLOT, sleep=0.005)
        with suppress(RedisError):
            # Continue after this time: if the PDS itself is slow, waiting does not help.
            lock.acquire(blocking_timeout=_MAX_SLOT)
        try:
            yield _THROTTLED_WRITES
        finally:
            with suppress(LockError, RedisError):
                lock.release()

    def _is_throttled(self) -> bool:
        try:
            return bool(self._redis.exists(_KEY))
        except RedisError:
            return False
