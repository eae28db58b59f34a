"""The rate limits of a PDS: buckets, charges, and the headers of answers.

A bucket is one limit for one subject: the points of a repo, the requests of our address. The
reference PDS counts in fixed windows that begin with the first charge; a rejected call is charged
like any other. Source: https://docs.bsky.app/docs/advanced-guides/rate-limits
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Resource(StrEnum):
    """What a limit counts."""

    POINTS = "points"  # of writes, per repo: create 3, update or put 2, delete 1
    UPLOADS = "uploads"  # of blobs, per address: all accounts together
    LOGINS = "logins"  # per account
    REQUESTS = "requests"  # of any kind, per address


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of points per window, in seconds."""

    name: str
    resource: Resource
    points: int
    window: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a call in one resource; `subject` is empty for our address."""

    resource: Resource
    points: int = 1
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """The charge of a call to one bucket."""

    limit: Limit
    subject: str
    points: int


@dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """The bucket in an answer's headers, with the fewest points left; seconds."""

    points: int
    window: float
    remaining: int
    reset: float


REQUEST = Cost(Resource.REQUESTS)
UPLOAD = Cost(Resource.UPLOADS)
_HOUR, _DAY = 3600.0, 86_400.0
# The narrowest first: of two that could have rejected a call, it is the likelier one.
REFERENCE = (
    Limit("points_hour", Resource.POINTS, 5000, _HOUR),
    Limit("points_day", Resource.POINTS, 35_000, _DAY),
    Limit("uploads_day", Resource.UPLOADS, 1000, _DAY),
    Limit("logins_5min", Resource.LOGINS, 30, 300.0),
    Limit("logins_day", Resource.LOGINS, 300, _DAY),
    Limit("requests_5min", Resource.REQUESTS, 3000, 300.0),
)
_MAX_WINDOW = 31 * _DAY
_FIRST_EPOCH = 1e9  # a smaller number is not a time since 1970
_OTHERS = "*"


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of each PDS by host, with `*` for all others."""

    by_host: Mapping[str, tuple[Limit, ...]]

    def of(self, host: str) -> tuple[Limit, ...]:
        """Return the limits of a host (`localhost:2583`)."""
        return self.by_host.get(host, self.by_host.get(_OTHERS, REFERENCE))

    @classmethod
    def parse(cls, text: str) -> Rates:
        """Parse the setting RATE_LIMITS; raises ValueError.

        Entries are separated by `;`. Each is a host or `*`, followed by `reference`, `off`, or
        limits such as `points_hour=9000`, `requests_5min=600/60` (with a window in seconds) and
        `uploads_day=off`. Limits that are not named are the reference's.
        """
        by_host = {}
        for words in _entries(text):
            host, rest = (_OTHERS, words) if len(words) == 1 else (words[0], words[1:])
            by_host[host] = _limits(rest)
        return cls(by_host)


def parse_keys(text: str) -> dict[str, str]:
    """Parse `HOST KEY; HOST KEY`; raises ValueError without quoting a key."""
    entries = list(_entries(text))
    if any(len(words) != 2 for words in entries):  # noqa: PLR2004
        raise ValueError("must be pairs of a host and a key, separated by ';'")
    return dict(entries)


def charges(limits: Iterable[Limit], costs: Sequence[Cost]) -> tuple[Charge, ...]:
    """Return the charges of a call at a PDS with these limits."""
    return tuple(
        Charge(limit, cost.subject, cost.points)
        for limit in limits
        for cost in costs
        if cost.resource is limit.resource and cost.points > 0
    )


def parse_headers(headers: Mapping[str, str], moment: float) -> RateLimitHeaders | None:
    """Parse the `RateLimit-*` headers of an answer received at `moment`.

    `RateLimit-Policy: 5000;w=3600` names the bucket. `RateLimit-Reset` is in seconds since 1970,
    like `moment`, at the reference PDS, and in seconds from now elsewhere
    (https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/03/).
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
    return found if sensible and found.points > 0 and found.remaining >= 0 else None


def match_bucket(charged: Sequence[Charge], headers: RateLimitHeaders) -> int | None:
    """Return the index of the charge to the described bucket, None if unclear.

    It has the same limit and window. If none has, it is the only one with the same window or
    limit: then our other number is wrong, and the answer corrects it.
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
