"""Redis locks, shared by all workers. A lock expires after its holder dies."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from threading import Event, Thread

from redis import Redis
from redis.exceptions import LockNotOwnedError, RedisError
from redis.lock import Lock

from worker.core.clock import after, now
from worker.core.errors import LockHeldError
from worker.core.redis_errors import redis_errors
from worker.core.redis_values import delete_stuck_key
from worker.pds.host_slots import HoldSlot

_LIFE = 10.0  # seconds after its last renewal, a lock expires
_TIMEOUT = 60.0
_WAIT = (5.0, 15.0)  # seconds until the next attempt, chosen at random


@contextmanager
def hold_lock(
    redis: Redis,
    name: str,
    busy: LockHeldError,
    *,
    life: float = _LIFE,
    timeout: float = _TIMEOUT,
    hold_waiting: HoldSlot = nullcontext,
) -> Iterator[None]:
    """Hold a lock for the duration of a `with` block.

    A thread renews the lock. If the process is killed, the lock expires after `life` seconds.
    The holder may be calling a slow host: waiting for it holds the host's waiting slot. Raises
    `busy` if the lock is not acquired within `timeout` seconds, HostBusyError, or
    RedisUnavailableError.
    """
    lock = redis.lock(name, timeout=life, sleep=0.02, thread_local=False)
    with redis_errors():
        delete_stuck_key(redis, name, life)
        is_held = lock.acquire(blocking=False)
    if not is_held:
        with hold_waiting(busy.step), redis_errors():
            if not lock.acquire(blocking_timeout=timeout):
                busy.until = after(random.uniform(*_WAIT))  # noqa: S311
                raise busy
    try:
        with _keep_renewed(lock, life):
            yield
    finally:
        # Losing the lock is not an error: it is safe to do the protected work twice.
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
    """Locks repos, so that only one worker at a time writes batches to a repo.

    Writes of single records do not take the lock. If one changes the repo during a batch, the
    PDS rejects the batch. `life` (the expiry) and `patience` (the timeout) are in seconds.
    """

    def __init__(self, redis: Redis, *, life: float = _LIFE, patience: float = _TIMEOUT) -> None:
        self._redis = redis
        self._life = life
        self._timeout = patience

    def hold(self, did: str, hold_waiting: HoldSlot = nullcontext) -> AbstractContextManager[None]:
        """Hold a repo's lock; raises LockHeldError (timeout), and the errors of `hold_lock`."""
        message = f"another worker is still writing to {did}"
        busy = LockHeldError(message, until=now(), step="write", code="repo_locked")
        name = f"media-atproto:repo:{did}"
        return hold_lock(
            self._redis,
            name,
            busy,
            life=self._life,
            timeout=self._timeout,
            hold_waiting=hold_waiting,
        )
