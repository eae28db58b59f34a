"""Limit the calls to each PDS, with counts in Redis that all workers share.

Each rate limit is a bucket of points. A call is sent only if its buckets have enough points left,
because a PDS charges rejected calls too. Each response reports the bucket with the fewest points
left, and our count is corrected. A 429 response closes a bucket until the time in its headers.
See docs/decisions/0013-rate-limits.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from importlib.resources import files
from typing import Any

from redis import Redis

from worker.core.clock import after, http_timestamp, rfc3339
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
from worker.core.redis_values import read_hashes

_PREFIX = "media-atproto:budget:"
_FIELDS = ("used", "points", "ends", "shut")  # of a bucket, for its status
_MAX_NUMBER = 1e15
_MAX_LEFT = 32 * 86_400  # seconds; no window and no wait after a 429 is longer
_SCRIPT = files("worker.pds").joinpath("rate_limiter.lua").read_text()


class Workload(Enum):
    """The kind of a call: LIVE (a save) may use a whole bucket, BULK only a share."""

    LIVE = "live"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Reservation:
    """The charges of a pending call, and the window start of each bucket, in ms."""

    charged: tuple[Charge, ...]
    began: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BucketStatus:
    """The points used in a bucket, its limit, and when it is reset or reopened."""

    host: str
    limit: str
    subject: str
    used: int
    points: int
    until: datetime
    refused: bool


class RateLimiter:
    """Applies the rate limits of all PDSes; `reserve` (0 to 1) is for saves only.

    `egress` names the IP address that calls are sent from. Limits per IP address are counted for
    each name.
    """

    def __init__(self, redis: Redis, rates: Rates, *, reserve: float, egress: str = "") -> None:
        self._redis = redis
        self._rates = rates
        self._reserve = reserve
        self._egress = egress
        self._script = redis.register_script(_SCRIPT)

    def for_host(self, host: str, workload: Workload) -> HostLimiter:
        share = 1.0 if workload is Workload.LIVE else 1.0 - self._reserve
        return HostLimiter(self._script, host, self._rates.of(host), share, self._egress)

    def buckets(self) -> list[BucketStatus]:
        """Return the buckets in a current window, sorted by host, limit and subject."""
        return sorted(self._scan(), key=lambda each: (each.host, each.limit, each.subject))

    def exhausted_buckets(self) -> list[BucketStatus]:
        """Return the buckets that are closed, or have no points left for bulk calls."""
        share = 1.0 - self._reserve
        return [each for each in self.buckets() if each.refused or each.used >= each.points * share]

    def _scan(self) -> Iterator[BucketStatus]:
        with redis_errors():
            found = self._redis.scan_iter(match=f"{_PREFIX}*", count=1000)
            names = {name.decode(errors="replace") for name in found}
            for name, values in read_hashes(self._redis, names, _FIELDS):
                if bucket := self._parse(name, values):
                    yield bucket

    def _parse(self, name: str, values: Sequence[object]) -> BucketStatus | None:
        # Hosts and limit names contain no `|`. Another program may have written any key and value.
        host, limit_name, subject = [*name.removeprefix(_PREFIX).split("|", 2), "", ""][:3]
        limit = next((each for each in self._rates.of(host) if each.name == limit_name), None)
        used, points, ends, shut = map(_number, values)
        left = max(shut, ends) / 1000 - time.time()
        if limit is None or not 0 < left < _MAX_LEFT:
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
    """Charges the calls to one PDS. Redis is not used if the PDS has no limits."""

    def __init__(
        self, script: Any, host: str, limits: Sequence[Limit], share: float, egress: str = ""
    ) -> None:
        self._script = script
        self._host = host
        self._limits = limits
        self._share = share
        self._egress = egress

    def acquire(self, step: str, costs: Sequence[Cost]) -> Reservation:
        """Charge a call to its buckets before it is sent.

        Raises RateLimitReachedError if a bucket is full or closed, or RedisUnavailableError.
        """
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
        """Update the buckets from a call's response. Skipped without Redis."""
        if not reservation.charged:
            return
        reported = parse_headers(headers, _sent_at(headers))
        index = None if reported is None else match_bucket(reservation.charged, reported)
        numbers: list[float] = [0, 0, 0, 0, 0]
        if reported is not None and index is not None:
            window, reset = _milliseconds(reported.window), _milliseconds(reported.reset)
            numbers = [index + 1, reported.points, window, reported.remaining, reset]
        # A 429 response that matches no bucket closes the first one, the narrowest.
        if refusal:
            wait = (refusal.until - after(0)).total_seconds()
            numbers += [(index or 0) + 1, max(_milliseconds(wait), 0)]
        else:
            numbers += [0, 0]
        numbers += [*_numbers(reservation.charged), *reservation.began]
        with suppress(RedisUnavailableError):
            self._run(reservation.charged, ["settle", *numbers])

    def remaining_points(self, subject: str) -> int | None:
        """Return the points left for writes to a repo, or None without a limit."""
        charged = charges(self._limits, [Cost(Resource.POINTS, 1, subject)])
        if not charged:
            return None
        return int(self._run(charged, ["room", self._share, *_numbers(charged)]))

    def _run(self, charged: Iterable[Charge], arguments: Sequence[object]) -> Any:
        keys = [
            f"{_PREFIX}{self._host}|{each.limit.name}|{each.subject or self._egress}"
            for each in charged
        ]
        with redis_errors():
            return self._script(keys=keys, args=arguments)


NO_LIMITS = HostLimiter(None, "", (), 1.0)


def _numbers(charged: Iterable[Charge]) -> list[int]:
    """List the limit, the window in milliseconds and the cost of each charge."""
    limits = ((each.limit.points, each.limit.window, each.points) for each in charged)
    return [n for points, window, cost in limits for n in (points, _milliseconds(window), cost)]


def _number(text: object) -> float:
    """Parse a field of a bucket; return 0 unless it is from 0 to 1e15, as the script does."""
    try:
        value = float(text) if isinstance(text, bytes) else 0.0
    except ValueError:
        return 0.0
    return value if 0 <= value <= _MAX_NUMBER else 0.0


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _sent_at(headers: Mapping[str, str]) -> float:
    """Return the `Date` of a response as a timestamp, or else the current time."""
    sent_at = http_timestamp(headers.get("date", ""))
    return time.time() if sent_at is None else sent_at
