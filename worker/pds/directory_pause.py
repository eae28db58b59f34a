"""Pause the calls of all processes to a directory that is down or limits its callers.

After HTTP 429, the pause ends at the time that the response names. After an outage it takes 2
seconds, and twice as long after each further one, up to 5 minutes. When it ends, one process calls
first, and the others wait for its result.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from redis import Redis

from worker.core.clock import doubled, rfc3339
from worker.core.errors import RateLimitReachedError, TransientError
from worker.core.redis_errors import redis_errors
from worker.core.redis_values import read_text, swap_text

_FIRST, _LONGEST = 2.0, 300.0  # seconds, after an outage
_MAX_PAUSE = 86_400.0  # seconds, after HTTP 429
_FIRST_CALL = 10.0  # seconds until another process may call; a call takes 8 seconds at most
_KEPT = 600  # seconds after a pause for which its failures count
_STATE = re.compile(r"([0-9]{1,11}\.[0-9]{3}) ([0-9]{1,3})")


class DirectoryError(TransientError):
    """A DID document cannot be read, or names no PDS that may be used."""

    step, code = "account", "directory_unavailable"


class DirectoryOutageError(DirectoryError):
    """The host of DID documents does not respond, or answered 5xx."""


class DirectoryPausedError(RateLimitReachedError):
    """The host of DID documents answered 429, or calls to it are paused until `until`."""

    step, code = "account", "directory_unavailable"


@dataclass(frozen=True, slots=True)
class _State:
    """The end of a pause in Unix time, and the failures since the last response."""

    until: float = 0.0
    failures: int = 0

    @classmethod
    def parse(cls, text: str | None) -> _State:
        """Parse a value in Redis; another program may have written it."""
        found = _STATE.fullmatch(text or "")
        state = cls(float(found[1]), int(found[2])) if found else cls()
        return state if state.until < time.time() + _MAX_PAUSE + 1 else cls()

    def __str__(self) -> str:
        return f"{self.until:.3f} {self.failures}"


class DirectoryPauses:
    """Pauses the calls to hosts of DID documents; raises RedisUnavailableError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @contextmanager
    def watch(self, host: str) -> Iterator[None]:
        """Call a host in a `with` block; raises DirectoryPausedError during a pause.

        A DirectoryPausedError or DirectoryOutageError in the block begins a pause.
        """
        failures = self._begin_call(host)
        try:
            yield
        except DirectoryPausedError as limit:
            self._pause(host, limit.until.timestamp(), failures + 1)
            raise
        except DirectoryOutageError:
            seconds = doubled(_FIRST, failures, _LONGEST)
            self._pause(host, time.time() + seconds, failures + 1)
            raise
        if failures:
            with redis_errors():
                self._redis.delete(_key(host))

    def _begin_call(self, host: str) -> int:
        """Return the failures before this call; raises DirectoryPausedError."""
        with redis_errors():
            text = read_text(self._redis, _key(host))
            state = _State.parse(text)
            if state.until > time.time():
                raise _paused(host, state)
            if state.failures:
                first = _State(time.time() + _FIRST_CALL, state.failures)
                if self._swap(host, first) != text:
                    raise _paused(host, first)
        return state.failures

    def _pause(self, host: str, until: float, failures: int) -> None:
        """Pause the calls, unless another process has done so for longer."""
        state = _State(until, min(failures, 999))
        with redis_errors():
            current = _State.parse(read_text(self._redis, _key(host)))
            if current.failures < state.failures or current.until < state.until:
                self._swap(host, state)

    def _swap(self, host: str, state: _State) -> str | None:
        seconds = max(int(state.until - time.time()), 0) + _KEPT
        return swap_text(self._redis, _key(host), str(state), seconds)


def _paused(host: str, state: _State) -> DirectoryPausedError:
    until = datetime.fromtimestamp(state.until, UTC)
    message = f"the directory {host} failed, and is not called until {rfc3339(until)}"
    return DirectoryPausedError(message, until=until)


def _key(host: str) -> str:
    return f"media-atproto:directory:{host}"
