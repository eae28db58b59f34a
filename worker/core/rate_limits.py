"""The rate limits of a PDS: buckets, charges, and `RateLimit-*` response headers.

A bucket is one limit for one subject, which is a repo, an account or the worker's IP address. The
reference PDS counts in fixed windows that start with the first charge. Rejected calls are charged
too. Source: https://docs.bsky.app/docs/advanced-guides/rate-limits
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Resource(StrEnum):
    """The kinds of usage that a limit counts."""

    POINTS = "points"  # for writes, per repo: create 3, update or put 2, delete 1
    UPLOADS = "uploads"  # of blobs, per IP address for all accounts
    LOGINS = "logins"  # per account
    REQUESTS = "requests"  # of any kind, per IP address


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate limit: `points` per `window`, which is in seconds."""

    name: str
    resource: Resource
    points: int
    window: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a call; `subject` is a repo or account, or "" for the IP address."""

    resource: Resource
    points: int = 1
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """The points that a call takes from the bucket of `limit` and `subject`."""

    limit: Limit
    subject: str
    points: int


@dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """The bucket described by response headers; `window` and `reset` in seconds."""

    points: int
    window: float
    remaining: int
    reset: float


REQUEST = Cost(Resource.REQUESTS)
UPLOAD = Cost(Resource.UPLOADS)
_HOUR, _DAY = 3600.0, 86_400.0
# Shorter windows first: the first limit is assumed to have rejected a call, if unclear.
REFERENCE = (
    Limit("points_hour", Resource.POINTS, 5000, _HOUR),
    Limit("points_day", Resource.POINTS, 35_000, _DAY),
    Limit("uploads_day", Resource.UPLOADS, 1000, _DAY),
    Limit("logins_5min", Resource.LOGINS, 30, 300.0),
    Limit("logins_day", Resource.LOGINS, 300, _DAY),
    Limit("requests_5min", Resource.REQUESTS, 3000, 300.0),
)
_MAX_WINDOW = 31 * _DAY
_MAX_POINTS = 10**9
_FIRST_EPOCH = 1e9  # a smaller number is not a time since 1970
_OTHERS = "*"


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of each PDS by host; the key `*` applies to all other hosts."""

    by_host: Mapping[str, tuple[Limit, ...]]

    def of(self, host: str) -> tuple[Limit, ...]:
        """Return the limits for a PDS host, such as `localhost:2583`."""
        return self.by_host.get(host, self.by_host.get(_OTHERS, REFERENCE))

    @classmethod
    def parse(cls, text: str) -> Rates:
        """Parse the setting RATE_LIMITS; raises ValueError if it is invalid.

        Entries are separated by `;`. Each is a host or `*`, followed by `reference`, `off`, or
        limits such as `points_hour=9000`, `requests_5min=600/60` (with a window in seconds) and
        `uploads_day=off`. All other limits of the host default to `REFERENCE`.
        """
        by_host = {}
        for words in _entries(text):
            host, rest = (_OTHERS, words) if len(words) == 1 else (words[0], words[1:])
            by_host[host] = _limits(rest)
        return cls(by_host)


def parse_keys(text: str) -> dict[str, str]:
    """Parse `HOST KEY; HOST KEY`; raises ValueError, without keys in its message."""
    entries = list(_entries(text))
    if any(len(words) != 2 for words in entries):  # noqa: PLR2004
        raise ValueError("must be pairs of a host and a key, separated by ';'")
    return dict(entries)


def charges(limits: Iterable[Limit], costs: Sequence[Cost]) -> tuple[Charge, ...]:
    """Return the charges for a call with `costs`, one per matching limit and cost."""
    return tuple(
        Charge(limit, cost.subject, cost.points)
        for limit in limits
        for cost in costs
        if cost.resource is limit.resource and cost.points > 0
    )


def parse_headers(headers: Mapping[str, str], moment: float) -> RateLimitHeaders | None:
    """Parse the `RateLimit-*` headers of a response; return None if invalid.

    `RateLimit-Policy: 5000;w=3600` describes the limit. The reference PDS sends `RateLimit-Reset`
    in seconds since 1970, other servers in seconds from now. `moment` is the time of the response
    since 1970. https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/03/
    """
    points, _, window = headers.get("ratelimit-policy", "").partition(";w=")
    try:
        reset = float(headers["ratelimit-reset"])
        seconds = reset - moment if reset > _FIRST_EPOCH else reset
        found = RateLimitHeaders(
            int(points), float(window), int(headers["ratelimit-remaining"]), max(seconds, 0.0)
        )
    except (KeyError, ValueError):
        return None
    sensible = 0 < found.window <= _MAX_WINDOW and found.reset <= _MAX_WINDOW
    counts = 0 < found.points <= _MAX_POINTS and 0 <= found.remaining <= _MAX_POINTS
    return found if sensible and counts else None


def match_bucket(charged: Sequence[Charge], headers: RateLimitHeaders) -> int | None:
    """Return the index of the charge that matches `headers`, None if unclear.

    Exactly one charge must match by points and window; if none does, by window; if none does, by
    points. The configured limit may differ from the limit of the PDS.
    """
    for fits in (
        lambda limit: (limit.points, limit.window) == (headers.points, headers.window),
        lambda limit: limit.window == headers.window,
        lambda limit: limit.points == headers.points,
    ):
        indexes = [index for index, charge in enumerate(charged) if fits(charge.limit)]
        if indexes:
            return indexes[0] if len(indexes) == 1 else None
    return None


def _entries(text: str) -> Iterable[list[str]]:
    return (words for entry in text.split(";") if (words := entry.split()))


def _limits(words: Sequence[str]) -> tuple[Limit, ...]:
    if list(words) == ["reference"]:
        return REFERENCE
    if list(words) == ["off"]:
        return ()
    own = {limit.name: limit for limit in REFERENCE}
    for word in words:
        name, equals, number = word.partition("=")
        if name not in own or not equals:
            names = ", ".join(own)
            raise ValueError(f"{word!r} is not 'reference', 'off' or NUMBER for one of {names}")
        if number == "off":
            del own[name]
        else:
            own[name] = _parse_own_limit(own[name], number)
    return tuple(own.values())


def _parse_own_limit(limit: Limit, text: str) -> Limit:
    number, slash, seconds = text.partition("/")
    try:
        points, window = int(number), float(seconds) if slash else limit.window
    except ValueError:
        points, window = 0, 0.0
    if points < 1 or not 1 <= window <= _MAX_WINDOW:
        raise ValueError(f"{limit.name}={text} is not POINTS or POINTS/SECONDS, both at least 1")
    return replace(limit, points=points, window=window)
