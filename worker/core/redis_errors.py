"""Translate exceptions of the Redis client into RedisUnavailableError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    LockError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from worker.core.errors import TransientError

_ADVICE: dict[type[RedisError], str] = {
    AuthenticationError: "Redis does not accept the user or the password in REDIS_URL",
    NoPermissionError: "the user in REDIS_URL is not allowed to do this in Redis",
    ReadOnlyError: "Redis is read-only: REDIS_URL must lead to the primary, not to a replica",
    OutOfMemoryError: "Redis is out of memory: raise its maxmemory, or delete keys",
    ClusterDownError: "Redis has no primary at present",
}
_ADVICE_BY_PREFIX = {
    "MISCONF": "Redis cannot save its data and rejects writes: check its log and its disk",
    "BUSY": "Redis is running a script that does not end",
}


class RedisUnavailableError(TransientError):
    """A Redis call failed: Redis did not answer or rejected the call."""

    step, code = "session", "redis_unavailable"


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise RedisUnavailableError for any RedisError except LockError."""
    try:
        yield
    except LockError:
        raise
    except RedisError as error:
        raise RedisUnavailableError(describe_error(error)) from error


def describe_error(error: BaseException) -> str:
    """Return an error message for the operator, without the text of the client."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "the certificate of Redis is not trusted: see ssl_ca_certs in REDIS_URL"
    for kind, text in _ADVICE.items():
        if isinstance(error, kind):
            return text
    if isinstance(error, ResponseError):
        return _ADVICE_BY_PREFIX.get(str(error).partition(" ")[0], "Redis rejected a command")
    return f"Redis did not answer ({type(error).__name__})"
