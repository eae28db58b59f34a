"""The edge to Redis: what its client's errors mean to us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import LockError, RedisError

from worker.errors import TransientError


class RedisUnavailableError(TransientError):
    """Redis did not answer: nothing can be had from it, or shared."""

    step = "session"
    code = "redis_unavailable"


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client's errors into ours; LockError passes, because the caller knows its lock."""
    try:
        yield
    except LockError:
        raise
    except RedisError as error:
        raise RedisUnavailableError(f"Redis did not answer ({type(error).__name__})") from error
