"""Read and replace values in Redis that another program may have written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from redis import Redis
from redis.exceptions import ResponseError


def read_text(redis: Redis, name: str) -> str | None:
    """Return a text, or None if it is missing, of another type or not UTF-8."""
    try:
        return _decode(redis.get(name))
    except ResponseError as error:
        _raise_unless_wrong_type(error)
        return None


def swap_text(redis: Redis, name: str, text: str, seconds: int) -> str | None:
    """Set a text that expires; return the previous one, as `read_text` does."""
    try:
        return _decode(redis.set(name, text, ex=seconds, get=True))
    except ResponseError as error:
        _raise_unless_wrong_type(error)
        redis.set(name, text, ex=seconds)
        return None


def read_fields(redis: Redis, name: str, fields: Sequence[str]) -> list[bytes | str | None]:
    """Return fields of a hash; None for those that are missing, or if it is of another type."""
    try:
        return redis.hmget(name, fields)
    except ResponseError as error:
        _raise_unless_wrong_type(error)
        return [None] * len(fields)


def set_score(redis: Redis, name: str, member: str, score: float) -> None:
    """Set the score of a member of a sorted set; a value of another type is replaced."""
    try:
        redis.zadd(name, {member: score})
    except ResponseError as error:
        _raise_unless_wrong_type(error)
        redis.delete(name)
        redis.zadd(name, {member: score})


def read_lowest(redis: Redis, name: str, highest: float, count: int) -> list[str]:
    """Return up to `count` members of a sorted set with a score up to `highest`, lowest first.

    There are none if the value is of another type.
    """
    try:
        found = redis.zrangebyscore(name, 0, highest, start=0, num=count)
    except ResponseError as error:
        _raise_unless_wrong_type(error)
        return []
    return [each.decode(errors="replace") for each in cast("list[bytes]", found)]


def delete_stuck_key(redis: Redis, name: str, longest: float) -> None:
    """Delete a key that does not expire within `longest` seconds, the most that we set."""
    left = int(redis.pttl(name))
    if left == -1 or left > longest * 1000:
        redis.delete(name)


def _decode(value: object) -> str | None:
    try:
        return value.decode() if isinstance(value, bytes) else None
    except UnicodeDecodeError:
        return None


def _raise_unless_wrong_type(error: ResponseError) -> None:
    if not str(error).startswith("WRONGTYPE"):
        raise error
