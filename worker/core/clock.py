"""Times in UTC, in milliseconds like the dates of MongoDB and of records."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_LONGEST = 100 * 366 * 86_400.0  # seconds


def now() -> datetime:
    """Return the current time in UTC."""
    return after(0)


def after(seconds: float) -> datetime:
    """Return the time `seconds` from now, a century at most; NaN counts as 0."""
    bounded = 0.0 if math.isnan(seconds) else min(max(seconds, -_LONGEST), _LONGEST)
    return to_milliseconds(datetime.now(UTC) + timedelta(seconds=bounded))


def doubled(first: float, times: int, longest: float) -> float:
    """Return an interval in seconds that was doubled `times` times, `longest` at most."""
    return min(first * 2.0 ** min(times, 60), longest)


def http_timestamp(text: str) -> float | None:
    """Parse an HTTP date as seconds since 1970; return None if it is invalid.

    Source: https://www.rfc-editor.org/rfc/rfc9110#field.date
    """
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):  # OverflowError: a number in it exceeds a C integer
        return None


def to_milliseconds(moment: datetime) -> datetime:
    """Truncate a time to milliseconds, the precision of BSON."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def rfc3339(moment: datetime) -> str:
    """Format a time as RFC 3339 in UTC (https://atproto.com/specs/lexicon#datetime)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
