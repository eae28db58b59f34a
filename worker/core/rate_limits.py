"""The rate limits of a PDS: what a call is charged, to which buckets, and what answers tell. Pure.

A bucket is one limit for one name: the points of a repo, the requests of our address. The
reference PDS counts in fixed windows that begin with the first charge; a refused call is charged
like any other. Source: https://docs.bsky.app/docs/advanced-guides/rate-limits
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Resource(StrEnum):
    """What a limit counts, and for whom."""

    POINTS = "points"  # of writes, for a repo: create 3, update or put 2, delete 1
    UPLOADS = "uploads"  # of blobs, for our address: all accounts together
    LOGINS = "logins"  # for an identifier
    REQUESTS = "requests"  # of any kind, for our address


@dataclass(frozen=True, slots=True)
class Limit:
    """So many points in a window of so many seconds."""

    name: str
    resource: Resource
    points: int
    window: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs, in points of one kind; `subject` is whose, empty for our address."""

    resource: Resource
    points: int = 1
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """What a call is charged to one bucket."""

    limit: Limit
    subject: str
    points: int


@dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """What an answer tells of one bucket, the one with the fewest points left; seconds."""

    points: int
    window: float
    remaining: int
    reset: float


REQUEST = Cost(Resource.REQUESTS)
UPLOAD = Cost(Resource.UPLOADS)
_HOUR, _DAY = 3600.0, 86_400.0
# The narrowest first: of two that could have refused a call, it is the likelier.
REFERENCE = (
    Limit("points_hour", Resource.POINTS, 5000, _HOUR),
    Limit("points_day", Resource.POINTS, 35_000, _DAY),
    Limit("uploads_day", Resource.UPLOADS, 1000, _DAY),
    Limit("logins_5min", Resource.LOGINS, 30, 300.0),
    Limit("logins_day", Resource.LOGINS, 300, _DAY),
    Limit("requests_5min", Resource.REQUESTS, 3000, 300.0),
)
_MAX_WINDOW = 31 * _DAY
_FIRST_EPOCH = 1e9  # a smaller number cannot be a moment of our time
_ELSE = "*"


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of each PDS by host, `*` for all others; none where the host sets none."""

    by_host: Mapping[str, tuple[Limit, ...]]

    def of(self, host: str) -> tuple[Limit, ...]:
        """Return the limits of a host (`pds.example`, `localhost:2583`)."""
        return self.by_host.get(host, self.by_host.get(_ELSE, REFERENCE))

    @classmethod
    def parse(cls, text: str) -> Rates:
        """Read a setting; raises ValueError saying what is wrong with it.

        Entries are parted by `;`. Each is a host, or `*`, and `reference`, `off`, or limits of
        one's own: `points_hour=9000`, with a window in seconds `requests_5min=600/60`, or none
        `uploads_day=off`. A limit that is not named is the reference's.
        """
        by_host = {}
        for words in _entries(text):
            host, rest = (_ELSE, words) if len(words) == 1 else (words[0], words[1:])
            by_host[host] = _limits(rest)
        return cls(by_host)


def parse_keys(text: str) -> dict[str, str]:
    """Read `HOST KEY; HOST KEY`; raises ValueError without quoting a key."""
    entries = list(_entries(text))
    if any(len(words) != 2 for words in entries):  # noqa: PLR2004
        raise ValueError("must be a host and a key, and so on, parted by ';'")
    return dict(entries)


def charges(limits: Iterable[Limit], costs: Sequence[Cost]) -> tuple[Charge, ...]:
    """Return what a call is charged to each bucket of a PDS with these limits."""
    return tuple(
        Charge(limit, cost.subject, cost.points)
        for limit in limits
        for cost in costs
        if cost.resource is limit.resource and cost.points > 0
    )


def parse_headers(headers: Mapping[str, str], moment: float) -> RateLimitHeaders | None:
    """Read the `RateLimit-*` headers of an answer that came at `moment` (seconds since 1970).

    `RateLimit-Policy: 5000;w=3600` names the bucket, and `RateLimit-Reset` is seconds since
    1970 in the reference PDS, seconds from now elsewhere
    (https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/03/).
    """
    points, _, window = headers.get("ratelimit-policy", "").partition(";w=")
    try:
        reset = float(headers["ratelimit-reset"])
        seconds = reset - moment if reset > _FIRST_EPOCH else reset
        said = RateLimitHeaders(
            int(points), float(window), int(headers["ratelimit-remaining"]), max(seconds, 0.0)
        )
    except (KeyError, ValueError):
        return None
    sensible = 0 < said.window <= _MAX_WINDOW and said.reset <= _MAX_WINDOW
    return said if sensible and said.points > 0 and said.remaining >= 0 else None


def match_bucket(charged: Sequence[Charge], said: RateLimitHeaders) -> int | None:
    """Return the place of the charge whose bucket an answer tells of, None when it is unclear.

    That is the one with that limit and window; or the only one with that window, or that limit:
    then ours has a wrong number, which the answer corrects.
    """
    for fits in (
        lambda limit: (limit.points, limit.window) == (said.points, said.window),
        lambda limit: limit.window == said.window,
        lambda limit: limit.points == said.points,
    ):
        places = [place for place, charge in enumerate(charged) if fits(charge.limit)]
        if places:
            return places[0] if len(places) == 1 else None
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
