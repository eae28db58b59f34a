"""Translate exceptions of the Redis client into RedisUnavailableError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import AuthenticationError, LockError, NoPermissionError, RedisError

from worker.core.errors import TransientError


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
    if isinstance(error, AuthenticationError):
        return "Redis does not accept the user or the password in REDIS_URL"
    if isinstance(error, NoPermissionError):
        return "the user in REDIS_URL is not allowed to do this in Redis"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "the certificate of Redis is not trusted: see ssl_ca_certs in REDIS_URL"
    return f"Redis did not answer ({type(error).__name__})"
