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

from worker.queue.names import LIVE

_KEY = "media-atproto:live"
_TURN = "media-atproto:bulk-turn"
_REMEMBERED = 5  # seconds for which a save is news
_FULL = 100  # writes a call: what a PDS carries out fastest, by the record
_CAREFUL = 20
_UPLOADS = 8  # at a time; more make a PDS no faster
_CAREFUL_UPLOADS = 2
_LONGEST_TURN = 20  # seconds

log = logging.getLogger(__name__)


class BulkThrottle:
    """Tells batches how fast to go. Without Redis they go at full speed."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def note_live_traffic(self) -> int:
        """Note that somebody has saved an item just now; return how many more such wait."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(_KEY, 1, ex=_REMEMBERED)
                pipe.llen(LIVE)
                return int(pipe.execute()[1])
        except RedisError as error:
            log.debug("a save was not noted (%s)", type(error).__name__)
            return 0

    def uploads(self) -> int:
        """Return how many blobs a batch uploads at a time."""
        return _CAREFUL_UPLOADS if self._is_careful() else _UPLOADS

    @contextmanager
    def turn(self) -> Iterator[int]:
        """Wait for one's turn; give the number of writes to send in it."""
        if not self._is_careful():
            yield _FULL
            return
        lock = self._redis.lock(_TURN, timeout=_LONGEST_TURN, sleep=0.005)
        with suppress(RedisError):
            # Not for ever: a turn that takes long is the PDS's doing, and waiting does not help.
            lock.acquire(blocking_timeout=_LONGEST_TURN)
        try:
            yield _CAREFUL
        finally:
            with suppress(LockError, RedisError):
                lock.release()

    def _is_careful(self) -> bool:
        try:
            return bool(self._redis.exists(_KEY))
        except RedisError:
            return False
