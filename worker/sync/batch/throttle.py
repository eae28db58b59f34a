"""How much is written at a time: everything the PDS takes, or little while people save.

A PDS carries out one write after the other, and a save waits for those before it. While there
are saves, the whole fleet sends small chunks, one at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.exceptions import LockError, RedisError

_KEY = "media-atproto:live"
_SLOT = "media-atproto:bulk-turn"
_REMEMBERED = 5  # seconds for which a save is news
_MAX_WRITES = 100  # writes a call: what a PDS carries out fastest, by the record
_THROTTLED_WRITES = 20
_MAX_UPLOADS = 8  # at a time; more make a PDS no faster
_THROTTLED_UPLOADS = 2
_MAX_SLOT = 20  # seconds

log = logging.getLogger(__name__)


class BulkThrottle:
    """Tells batches how fast to go. Without Redis they go at full speed."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def note_live_traffic(self) -> None:
        """Throttle all batches for a few seconds, because a save has arrived."""
        try:
            self._redis.set(_KEY, 1, ex=_REMEMBERED)
        except RedisError as error:
            log.debug("batches are not throttled (%s)", type(error).__name__)

    def uploads(self) -> int:
        """Return how many blobs a batch uploads at a time."""
        return _THROTTLED_UPLOADS if self._is_throttled() else _MAX_UPLOADS

    @contextmanager
    def slot(self) -> Iterator[int]:
        """Wait for one's turn; give the number of writes to send in it."""
        if not self._is_throttled():
            yield _MAX_WRITES
            return
        lock = self._redis.lock(_SLOT, timeout=_MAX_SLOT, sleep=0.005)
        with suppress(RedisError):
            # Not for ever: a turn that takes long is the PDS's doing, and waiting does not help.
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
