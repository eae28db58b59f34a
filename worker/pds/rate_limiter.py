"""Charge calls to a PDS to rate limits in Redis, which all workers share.

A PDS charges a refused call like any other, to every bucket, so no call is sent that exceeds our
own count. Responses report the bucket with the fewest points left, which corrects the count; a 429
closes a bucket until the time that it names. See docs/decisions/0013-rate-limits.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from importlib.resources import files
from typing import Any

from redis import Redis

from worker.core.clock import after, rfc3339
from worker.core.errors import RateLimitReachedError, WaitError
from worker.core.rate_limits import (
    Charge,
    Cost,
    Limit,
    Rates,
    Resource,
    charges,
    match_bucket,
    parse_headers,
)
from worker.core.redis_errors import RedisUnavailableError, redis_errors

_PREFIX = "media-atproto:budget:"
_SCRIPT = files("worker.pds").joinpath("rate_limiter.lua").read_text()


class Workload(Enum):
    """Traffic classes: saves may use all of a bucket, other work only a share."""

    LIVE = "live"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Reservation:
    """The charges of a call in flight, and the start of each bucket's window."""

    charged: tuple[Charge, ...]
    began: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BucketStatus:
    """The points used and available in a bucket, and the end of its window."""

    host: str
    limit: str
    subject: str
    used: int
    points: int
    until: datetime
    refused: bool


class RateLimiter:
    """The rate limits of all PDSes. `reserve` is the share, 0 to 1, for saves only."""

    def __init__(self, redis: Redis, rates: Rates, *, reserve: float) -> None:
        self._redis = redis
        self._rates = rates
        self._reserve = reserve
        self._script = redis.register_script(_SCRIPT)

    def for_host(self, host: str, workload: Workload) -> HostLimiter:
        share = 1.0 if workload is Workload.LIVE else 1.0 - self._reserve
        return HostLimiter(self._script, host, self._rates.of(host), share)

    def buckets(self) -> list[BucketStatus]:
        """Return the buckets with charges in their current windows."""
        with redis_errors():
            names = list(self._redis.scan_iter(match=f"{_PREFIX}*", count=1000))
        buckets = (self._bucket(name.decode()) for name in names)
        return sorted(
            (bucket for bucket in buckets if bucket),
            key=lambda bucket: (bucket.host, bucket.limit, bucket.subject),
        )

    def exhausted_buckets(self) -> list[BucketStatus]:
        """Return the buckets that only saves may use now."""
        share = 1.0 - self._reserve
        return [each for each in self.buckets() if each.refused or each.used >= each.points * share]

    def _bucket(self, name: str) -> BucketStatus | None:
        # hosts, names of limits and DIDs contain no bar
        host, limit_name, subject = name.removeprefix(_PREFIX).split("|", 2)
        known = {limit.name: limit for limit in self._rates.of(host)}
        with redis_errors():
            values = self._redis.hmget(name, ["used", "points", "ends", "shut"])
        limit = known.get(limit_name)
        used, points, ends, shut = map(_number, values)
        left = max(shut, ends) / 1000 - time.time()
        if limit is None or left <= 0:
            return None
        return BucketStatus(
            host,
            limit_name,
            subject,
            used=int(used),
            points=min(limit.points, int(points) or limit.points),
            until=after(left),
            refused=shut / 1000 > time.time(),
        )


class HostLimiter:
    """Charges calls to one PDS; without limits it does not use Redis."""

    def __init__(self, script: Any, host: str, limits: Sequence[Limit], share: float) -> None:
        self._script = script
        self._host = host
        self._limits = limits
        self._share = share

    def acquire(self, step: str, costs: Sequence[Cost]) -> Reservation:
        """Charge a call before it is made; raises RateLimitReachedError if it must wait."""
        charged = charges(self._limits, costs)
        if not charged:
            return Reservation((), ())
        index, *rest = self._run(charged, ["spend", self._share, *_numbers(charged)])
        if index == 0:
            return Reservation(charged, tuple(rest))
        charge, until = charged[index - 1], after(rest[0] / 1000)
        owner = charge.subject or "our address"
        budget = f"the budget {charge.limit.name} of {owner} at {self._host}"
        message = f"{budget} is spent until {rfc3339(until)}"
        raise RateLimitReachedError(message, until=until, step=step)

    def settle(
        self, reservation: Reservation, headers: Mapping[str, str], refusal: WaitError | None = None
    ) -> None:
        """Correct the count by a response; without Redis, later responses do."""
        if not reservation.charged:
            return
        reported = parse_headers(headers, _sent_at(headers))
        index = None if reported is None else match_bucket(reservation.charged, reported)
        numbers: list[float] = [0, 0, 0, 0, 0]
        if reported is not None and index is not None:
            window, reset = _milliseconds(reported.window), _milliseconds(reported.reset)
            numbers = [index + 1, reported.points, window, reported.remaining, reset]
        # A refusal that names no bucket closes the first one charged, the narrowest.
        if refusal:
            wait = (refusal.until - after(0)).total_seconds()
            numbers += [(index or 0) + 1, max(_milliseconds(wait), 0)]
        else:
            numbers += [0, 0]
        numbers += [*_numbers(reservation.charged), *reservation.began]
        with suppress(RedisUnavailableError):
            self._run(reservation.charged, ["settle", *numbers])

    def remaining_points(self, subject: str) -> int | None:
        """Return how many points of writes a repo has left, None without a limit."""
        charged = charges(self._limits, [Cost(Resource.POINTS, 1, subject)])
        if not charged:
            return None
        return int(self._run(charged, ["room", self._share, *_numbers(charged)]))

    def _run(self, charged: Iterable[Charge], arguments: Sequence[object]) -> Any:
        keys = [f"{_PREFIX}{self._host}|{each.limit.name}|{each.subject}" for each in charged]
        with redis_errors():
            return self._script(keys=keys, args=arguments)


NO_LIMITS = HostLimiter(None, "", (), 1.0)


def _numbers(charged: Iterable[Charge]) -> list[int]:
    """Return the points and the window of each bucket, and the charge to it."""
    limits = ((each.limit.points, each.limit.window, each.points) for each in charged)
    return [n for points, window, cost in limits for n in (points, _milliseconds(window), cost)]


def _number(text: object) -> float:
    """Return the value of a bucket's field, 0 if it is not a number."""
    try:
        return float(text) if isinstance(text, bytes) else 0.0
    except ValueError:
        return 0.0


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _sent_at(headers: Mapping[str, str]) -> float:
    """Return when a response was sent, by the server's clock if it has a `Date`."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return time.time()
