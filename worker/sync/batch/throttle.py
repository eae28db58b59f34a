"""Throttle the bulk writes to a PDS host during live traffic to it.

A PDS executes one write at a time, so a live save waits for the bulk writes before it. During live
traffic to a host, bulk writes to it use small chunks, and only one worker sends a chunk at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

from redis import Redis
from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from worker.core.redis_values import delete_stuck_key
from worker.pds.host_slots import HoldSlot

_KEY = "media-atproto:live:"
_SLOT = "media-atproto:bulk-turn:"
_REMEMBERED = 5  # seconds after a mark in which batches are throttled
_REPEATED = 1.0  # seconds after which a process sets the mark of a host again
_MAX_HOSTS = 1000
_LONGEST = 60_000  # milliseconds; a mark that lasts longer is not ours
_MAX_WRITES = 100  # per call: the fastest per record
_THROTTLED_WRITES = 10
_MAX_UPLOADS = 8  # at a time; more are not faster
_THROTTLED_UPLOADS = 2
_MAX_SLOT = 20  # seconds

log = logging.getLogger(__name__)


class BulkThrottle:
    """Limits bulk writes and uploads during live traffic, if Redis is available."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._noted: dict[str, float] = {}  # when the mark of a host is to be set again

    def note_live_traffic(self, host: str) -> None:
        """Throttle the batches of a PDS host for a few seconds; called before a live save."""
        current = time.monotonic()
        if current < self._noted.get(host, 0.0):
            return
        if len(self._noted) >= _MAX_HOSTS:
            self._noted.clear()
        try:
            self._redis.set(f"{_KEY}{host}", 1, ex=_REMEMBERED)
        except RedisError as error:
            log.debug("batches not throttled (%s)", type(error).__name__)
            return
        self._noted[host] = current + _REPEATED

    def uploads(self, host: str) -> int:
        """Return how many blobs a batch may upload to a PDS host at the same time."""
        return _THROTTLED_UPLOADS if self._is_throttled(host) else _MAX_UPLOADS

    @contextmanager
    def slot(self, host: str, hold_waiting: HoldSlot = nullcontext) -> Iterator[int]:
        """Yield the maximum number of writes; during live traffic, hold the lock of the host.

        The holder may be calling a slow host: waiting for it holds the host's waiting slot. Raises
        HostBusyError, or RedisUnavailableError.
        """
        if not self._is_throttled(host):
            yield _MAX_WRITES
            return
        lock = self._redis.lock(f"{_SLOT}{host}", timeout=_MAX_SLOT, sleep=0.005)
        self._acquire(lock, host, hold_waiting)
        try:
            yield _THROTTLED_WRITES
        finally:
            with suppress(LockError, RedisError):
                lock.release()

    def _acquire(self, lock: Lock, host: str, hold_waiting: HoldSlot) -> None:
        with suppress(RedisError):
            delete_stuck_key(self._redis, f"{_SLOT}{host}", _MAX_SLOT)
            if not lock.acquire(blocking=False):
                with hold_waiting("write"):
                    # Continue without the lock after this time: more waiting does not help.
                    lock.acquire(blocking_timeout=_MAX_SLOT)

    def _is_throttled(self, host: str) -> bool:
        try:
            return 0 < int(self._redis.pttl(f"{_KEY}{host}")) <= _LONGEST
        except RedisError:
            return False
