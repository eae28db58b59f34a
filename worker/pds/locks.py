"""Locks in Redis, shared by all workers, that expire after their holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Event, Thread

from redis import Redis
from redis.exceptions import LockNotOwnedError, RedisError
from redis.lock import Lock

from worker.core.errors import TransientError
from worker.core.redis_errors import redis_errors

_LIFE = 10.0  # seconds from the last renewal
_TIMEOUT = 60.0


@contextmanager
def hold_lock(
    redis: Redis, name: str, busy: TransientError, *, life: float = _LIFE, timeout: float = _TIMEOUT
) -> Iterator[None]:
    """Hold a lock while the block runs.

    The lock is renewed by a thread, and expires `life` seconds after its holder was killed. Raises
    `busy` if another worker has it for `timeout` seconds, and RedisUnavailableError.
    """
    lock = redis.lock(name, timeout=life, sleep=0.02, thread_local=False)
    with redis_errors():
        if not lock.acquire(blocking_timeout=timeout):
            raise busy
    try:
        with _keep_renewed(lock, life):
            yield
    finally:
        # A lost lock is no error: the work it protects is safe to do twice.
        with suppress(LockNotOwnedError), redis_errors():
            lock.release()


@contextmanager
def _keep_renewed(lock: Lock, life: float) -> Iterator[None]:
    done = Event()

    def renew() -> None:
        while not done.wait(life / 3):
            with suppress(RedisError):
                lock.reacquire()

    renewing = Thread(target=renew, daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()


class RepoLocks:
    """A lock for each repo: one writer of many records at a time.

    Saves do not take it: they write one record each, and a batch names the commit that it follows.
    `life` and `patience` (the timeout) are in seconds.
    """

    def __init__(self, redis: Redis, *, life: float = _LIFE, patience: float = _TIMEOUT) -> None:
        self._redis = redis
        self._life = life
        self._timeout = patience

    def hold(self, did: str) -> AbstractContextManager[None]:
        """Hold the lock of a repo; raises TransientError, RedisUnavailableError."""
        message = f"another worker is still writing to {did}"
        busy = TransientError(message, step="write", code="repo_locked")
        name = f"media-atproto:repo:{did}"
        return hold_lock(self._redis, name, busy, life=self._life, timeout=self._timeout)
