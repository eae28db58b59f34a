"""Limit the concurrent calls of all processes to one foreign host.

A foreign host is chosen by an account, so it may be slow on purpose. Each call holds one of its
host's slots in Redis. If all are taken, the item waits, and the process continues with other items.
While slots are reserved (see below), it waits for more than 30 seconds as a rule: the sweep then
enqueues it, with a quota for each account.

A call of `d` seconds, more than 2, keeps its slot reserved for another `4 * (d - 2)` seconds, at
most 10 minutes. So a host that answers slowly occupies about one fifth of a process per slot:

    d = 15 s:  52 s reserved, 15 / 67 = 22% of the time
    d = 75 s: 292 s reserved, 75 / 367 = 20%
    d = 180 s (the longest batch): 600 s reserved (the maximum), 180 / 780 = 23%

With 2 slots, that is less than half a process. Faster calls pay nothing: a host with answers in
2 seconds or less occupies at most as many processes as it has slots.

A thread must not hold two slots of one host: with the last one, it would wait for itself.

A process that waits for a lock may wait for a slow call of the holder. It holds the only waiting
slot of the host. This is no slot of calls: the holder needs these to finish.

The slot of a killed process expires 180 seconds after the start of its call, when the call would
have been ended by the time limit of its task.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.resources import files
from threading import BoundedSemaphore, Lock
from weakref import WeakValueDictionary

from redis import Redis

from worker.core.clock import after, now
from worker.core.errors import RateLimitReachedError
from worker.core.redis_errors import RedisUnavailableError, redis_errors

HoldSlot = Callable[[str], AbstractContextManager[object]]
"""Holds a slot of one host during the given step; `nullcontext` has no limit."""

_SCRIPT = files("worker.pds").joinpath("host_slots.lua").read_text()
_WAITERS = 1  # processes that wait for locks, for each host
_LIFE = 180.0  # seconds; the longest time limit of a task
_FREE = 2.0  # seconds of a call without a reservation
_PRICE = 4.0  # seconds of reservation for each further second
_MAX_RESERVED = 600.0
_WAIT = (5.0, 15.0)  # seconds until the next attempt, chosen at random; added to a reservation


class HostBusyError(RateLimitReachedError):
    """All slots of a host are taken; nothing was sent."""

    code = "host_busy"


class HostSlots:
    """Holds the slots of foreign hosts: `calls` for each host, shared by all processes.

    `clock` returns seconds, and measures the duration of calls.
    """

    def __init__(
        self, redis: Redis, calls: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._script = redis.register_script(_SCRIPT)
        self._calls = calls
        self._clock = clock
        self._lock = Lock()
        self._queues: WeakValueDictionary[str, BoundedSemaphore] = WeakValueDictionary()

    def hold(self, host: str, step: str) -> AbstractContextManager[None]:
        """Hold a slot of `host` during a call.

        Threads of this process wait for each other's calls. Raises HostBusyError if other
        processes or reservations take all slots, or RedisUnavailableError.
        """
        message = f"as many calls to {host} are pending as FOREIGN_HOST_CALLS allows"
        return self._hold(host, self._calls, HostBusyError(message, until=now(), step=step))

    def hold_waiting(self, host: str, step: str) -> AbstractContextManager[None]:
        """Hold the waiting slot of `host` while waiting for a lock; raises as `hold` does."""
        message = f"another worker waits for a call to {host}"
        busy = HostBusyError(message, until=now(), step=step)
        return self._hold(f"{host}/waiting", _WAITERS, busy)

    @contextmanager
    def _hold(self, name: str, slots: int, busy: HostBusyError) -> Iterator[None]:
        with self._queue(name, slots):
            token = secrets.token_hex(8)
            with redis_errors():
                wait = self._run(name, token, _LIFE, slots)
            if wait >= 0:
                busy.until = after(wait / 1000 + random.uniform(*_WAIT))  # noqa: S311
                raise busy
            began = self._clock()
            try:
                yield
            finally:
                # Without Redis, the slot expires.
                with suppress(RedisUnavailableError), redis_errors():
                    self._run(name, token, _reservation(self._clock() - began))

    def _queue(self, name: str, slots: int) -> BoundedSemaphore:
        """Return the semaphore of this process for slots."""
        with self._lock:
            return self._queues.setdefault(name, BoundedSemaphore(slots))

    def _run(self, name: str, token: str, seconds: float, *slots: int) -> int:
        arguments: list[str | int] = [token, round(seconds * 1000), *slots]
        return int(self._script(keys=[f"media-atproto:calls:{name}"], args=arguments))


def _reservation(seconds: float) -> float:
    """Return for how many seconds a slot stays reserved after a call of `seconds`."""
    return min(max(seconds - _FREE, 0.0) * _PRICE, _MAX_RESERVED)
