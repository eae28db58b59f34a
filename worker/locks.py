"""Locks that the whole fleet shares: one writer of many records at a time in each repo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.exceptions import LockNotOwnedError

from worker.errors import TransientError
from worker.redis_errors import translated

# Seconds. Who waits does so for longer than a lock outlives its holder. A holder that takes longer
# than its lock lives does no harm: each write names the commit that it follows.
_LIFE = 45
_PATIENCE = 60


class RepoLocks:
    """A lock for each repo. Live saves do not take it: they write one record each."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @contextmanager
    def hold(self, did: str) -> Iterator[None]:
        """Be the one who writes many records to a repo.

        Raises TransientError when someone else is for too long, RedisUnavailableError.
        """
        lock = self._redis.lock(f"media-atproto:repo:{did}", timeout=_LIFE, sleep=0.02)
        with translated():
            if not lock.acquire(blocking_timeout=_PATIENCE):
                message = f"another worker writes to {did} and takes long"
                raise TransientError(message, step="write", code="repo_locked")
        try:
            yield
        finally:
            with suppress(LockNotOwnedError), translated():
                lock.release()
