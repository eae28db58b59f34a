"""Locks that the whole fleet shares: one writer of many records at a time in each repo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from redis import Redis
from redis.exceptions import LockNotOwnedError, RedisError
from redis.lock import Lock

from worker.errors import TransientError
from worker.redis_errors import translated

_LIFE = 10.0  # seconds from the last sign of its holder
_PATIENCE = 60.0


class RepoLocks:
    """A lock for each repo. Live saves do not take it: they write one record each.

    A lock is renewed for as long as its holder lives, and over soon after it was killed: `life`
    seconds. Who waits for one does so for `patience` seconds at most.
    """

    def __init__(self, redis: Redis, *, life: float = _LIFE, patience: float = _PATIENCE) -> None:
        self._redis = redis
        self._life = life
        self._patience = patience

    @contextmanager
    def hold(self, did: str) -> Iterator[None]:
        """Be the one who writes many records to a repo.

        Raises TransientError when someone else is for too long, RedisUnavailableError.
        """
        name = f"media-atproto:repo:{did}"
        lock = self._redis.lock(name, timeout=self._life, sleep=0.02, thread_local=False)
        with translated():
            if not lock.acquire(blocking_timeout=self._patience):
                message = f"another worker writes to {did} and takes long"
                raise TransientError(message, step="write", code="repo_locked")
        try:
            with self._renewed(lock):
                yield
        finally:
            # Lost, it has done its duty: writes name the commit that they follow.
            with suppress(LockNotOwnedError), translated():
                lock.release()

    @contextmanager
    def _renewed(self, lock: Lock) -> Iterator[None]:
        """Renew a lock for as long as the block runs."""
        done = Event()

        def renew() -> None:
            while not done.wait(self._life / 3):
                with suppress(RedisError):
                    lock.reacquire()

        renewing = Thread(target=renew, daemon=True)
        renewing.start()
        try:
            yield
        finally:
            done.set()
            renewing.join()
