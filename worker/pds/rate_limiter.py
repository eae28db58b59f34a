"""Rate budgets, shared by all workers through Redis: what may be sent to a PDS, before it is sent.

A refused call is charged like any other, to every bucket, so nothing goes out that our own count
has no room for. The count is corrected by what answers tell of the bucket with the fewest points
left, and a 429 closes that bucket until it says. Why it is counted so:
docs/decisions/0013-rate-budgets.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
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
    """Who spends: saves may spend everything, all other work leaves them a share."""

    LIVE = "live"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call under way was charged, and where each bucket's window began."""

    charged: tuple[Charge, ...]
    began: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BucketStatus:
    """A bucket as it stands: the points used of those there are, and when its window ends."""

    host: str
    limit: str
    subject: str
    used: int
    points: int
    until: datetime
    refused: bool


class RateLimiter:
    """The budgets of all PDSes. `reserve` is the share, 0 to 1, that only saves may spend."""

    def __init__(self, redis: Redis, rates: Rates, *, reserve: float) -> None:
        self._redis = redis
        self._rates = rates
        self._reserve = reserve
        self._script = redis.register_script(_SCRIPT)

    def for_host(self, host: str, workload: Workload) -> HostLimiter:
        """Return what calls to one PDS are charged by."""
        share = 1.0 if workload is Workload.LIVE else 1.0 - self._reserve
        return HostLimiter(self._script, host, self._rates.of(host), share)

    def buckets(self) -> list[BucketStatus]:
        """Return the buckets that something was spent of in their present windows."""
        buckets = (self._bucket(name.decode()) for name in self._names())
        return sorted(
            (bucket for bucket in buckets if bucket),
            key=lambda bucket: (bucket.host, bucket.limit, bucket.subject),
        )

    def exhausted_buckets(self) -> list[BucketStatus]:
        """Return the buckets that let nothing but saves through now."""
        return [bucket for bucket in self.buckets() if self._is_exhausted(bucket)]

    def _is_exhausted(self, bucket: BucketStatus) -> bool:
        return bucket.refused or bucket.used >= bucket.points * (1.0 - self._reserve)

    def _names(self) -> list[bytes]:
        with redis_errors():
            return list(self._redis.scan_iter(match=f"{_PREFIX}*", count=1000))

    def _bucket(self, name: str) -> BucketStatus | None:
        # host and limit hold no bar, and a DID holds none either
        host, limit_name, subject = name.removeprefix(_PREFIX).split("|", 2)
        known = {limit.name: limit for limit in self._rates.of(host)}
        with redis_errors():
            kept = self._redis.hmget(name, ["used", "points", "ends", "shut"])
        limit = known.get(limit_name)
        used, points, ends, shut = map(_number, kept)
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
    """Charges calls to one PDS. Without limits it lets everything through and asks nobody."""

    def __init__(self, script: Any, host: str, limits: Sequence[Limit], share: float) -> None:
        self._script = script
        self._host = host
        self._limits = limits
        self._share = share

    def acquire(self, step: str, costs: Sequence[Cost]) -> Reservation:
        """Charge a call that is about to be made.

        Raises RateLimitReachedError when it has to wait, and nothing is charged then; and
        RedisUnavailableError.
        """
        charged = charges(self._limits, costs)
        if not charged:
            return Reservation((), ())
        numbers = [
            number
            for each in charged
            for number in (each.limit.points, _milliseconds(each.limit.window), each.points)
        ]
        index, *rest = self._run(charged, ["spend", self._share, *numbers])
        if index:
            raise self._reached_error(charged[index - 1], rest[0] / 1000, step)
        return Reservation(charged, tuple(rest))

    def settle(
        self, reservation: Reservation, headers: Mapping[str, str], refusal: WaitError | None = None
    ) -> None:
        """Correct the count by a call's answer; without headers there was none to learn from.

        Never raises for Redis: the call has been carried out, and later answers tell as much.
        """
        if not reservation.charged:
            return
        said = parse_headers(headers, _moment(headers))
        index = None if said is None else match_bucket(reservation.charged, said)
        numbers: list[float] = [0, 0, 0, 0, 0]
        if said is not None and index is not None:
            ends = _milliseconds(said.reset)
            numbers = [index + 1, said.points, _milliseconds(said.window), said.remaining, ends]
        # Without a name, a refusal is for what the call is charged first: the narrowest.
        numbers += [(index or 0) + 1, _until(refusal)] if refusal else [0, 0]
        for each, began in zip(reservation.charged, reservation.began, strict=True):
            limit = each.limit
            numbers += [limit.points, _milliseconds(limit.window), each.points, began]
        try:
            self._run(reservation.charged, ["settle", *numbers])
        except RedisUnavailableError:
            return

    def remaining_points(self, subject: str) -> int | None:
        """Return how many points of writes a repo has left; None when nobody counts them."""
        charged = charges(self._limits, [Cost(Resource.POINTS, 1, subject)])
        if not charged:
            return None
        numbers = [
            number
            for each in charged
            for number in (each.limit.points, _milliseconds(each.limit.window))
        ]
        return int(self._run(charged, ["room", self._share, *numbers]))

    def _run(self, charged: Iterable[Charge], arguments: Sequence[object]) -> Any:
        keys = [f"{_PREFIX}{self._host}|{each.limit.name}|{each.subject}" for each in charged]
        with redis_errors():
            return self._script(keys=keys, args=arguments)

    def _reached_error(self, charge: Charge, seconds: float, step: str) -> RateLimitReachedError:
        until = after(seconds)
        owner = charge.subject or "our address"
        message = (
            f"the budget {charge.limit.name} of {owner} at {self._host} is spent"
            f" until {rfc3339(until)}"
        )
        return RateLimitReachedError(message, until=until, step=step)


def _number(text: object) -> float:
    """Return what a field of a bucket says; 0 where that is no number."""
    try:
        return float(text) if isinstance(text, bytes) else 0.0
    except ValueError:
        return 0.0


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _until(refusal: WaitError) -> int:
    return max(_milliseconds((refusal.until - after(0)).total_seconds()), 0)


def _moment(headers: Mapping[str, str]) -> float:
    """Return when an answer was sent, by the server's own clock where it says."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return time.time()
