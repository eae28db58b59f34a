"""Locks that the whole fleet shares, and that outlive no holder for long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from redis import Redis
from redis.exceptions import LockNotOwnedError, RedisError
from redis.lock import Lock

from worker.core.errors import TransientError
from worker.core.redis_errors import redis_errors

_LIFE = 10.0  # seconds from the last sign of its holder
_TIMEOUT = 60.0


@contextmanager
def hold_lock(
    redis: Redis,
    name: str,
    busy: TransientError,
    *,
    life: float = _LIFE,
    timeout: float = _TIMEOUT,
) -> Iterator[None]:
    """Hold a lock for as long as the block runs.

    It is renewed for as long as its holder lives, and over soon after it was killed: `life`
    seconds. Raises `busy` when someone else has it for longer than `patience` seconds,
    RedisUnavailableError.
    """
    lock = redis.lock(name, timeout=life, sleep=0.02, thread_local=False)
    with redis_errors():
        if not lock.acquire(blocking_timeout=timeout):
            raise busy
    try:
        with _keep_renewed(lock, life):
            yield
    finally:
        # Lost, it has done its duty: what is done under it is safe to be done twice.
        with suppress(LockNotOwnedError), redis_errors():
            lock.release()


@contextmanager
def _keep_renewed(lock: Lock, life: float) -> Iterator[None]:
    """Renew a lock for as long as the block runs."""
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

    Live saves do not take it: they write one record each, and writes name the commit that they
    follow. `life` and `patience` are in seconds.
    """

    def __init__(self, redis: Redis, *, life: float = _LIFE, patience: float = _TIMEOUT) -> None:
        self._redis = redis
        self._life = life
        self._timeout = patience

    @contextmanager
    def hold(self, did: str) -> Iterator[None]:
        """Be the one who writes many records to a repo.

        Raises TransientError when someone else is for too long, RedisUnavailableError.
        """
        message = f"another worker writes to {did} and takes long"
        busy = TransientError(message, step="write", code="repo_locked")
        name = f"media-atproto:repo:{did}"
        with hold_lock(self._redis, name, busy, life=self._life, timeout=self._timeout):
            yield
