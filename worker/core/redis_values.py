"""Read and replace values in Redis that another program may have written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

from redis import Redis
from redis.exceptions import ResponseError

_CHUNK = 1000  # keys of one request


def read_text(redis: Redis, name: str) -> str | None:
    """Return a text, or None if it is missing, of another type or not UTF-8."""
    try:
        return _decode(redis.get(name))
    except ResponseError as error:
        _raise_unless_wrong_type(error)
        return None


def read_texts(redis: Redis, names: Iterable[str]) -> Iterator[str | None]:
    """Yield the text of each name, as `read_text` does."""
    remaining = iter(names)
    while chunk := list(islice(remaining, _CHUNK)):
        yield from map(_decode, cast("list[object]", redis.mget(chunk)))


def swap_text(redis: Redis, name: str, text: str, seconds: int) -> str | None:
    """Set a text that expires; return the previous one, as `read_text` does."""
    try:
        return _decode(redis.set(name, text, ex=seconds, get=True))
    except ResponseError as error:
        _raise_unless_wrong_type(error)
        redis.set(name, text, ex=seconds)
        return None


def read_hashes(
    redis: Redis, names: Iterable[str], fields: Sequence[str]
) -> Iterator[tuple[str, list[bytes | None]]]:
    """Yield each name and its fields; None for those that are missing, or of another type.

    The names are read in pipelines: a request for each costs the server ten times as much.
    """
    remaining = iter(names)
    while chunk := list(islice(remaining, _CHUNK)):
        with redis.pipeline(transaction=False) as pipe:
            for name in chunk:
                pipe.hmget(name, fields)
            results = pipe.execute(raise_on_error=False)
        for name, result in zip(chunk, results, strict=True):
            if isinstance(result, ResponseError):
                _raise_unless_wrong_type(result)
                yield name, [None] * len(fields)
            else:
                yield name, result


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
