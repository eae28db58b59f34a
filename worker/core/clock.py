"""Times in UTC, in milliseconds like the dates of MongoDB and of records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """Return the current time in UTC."""
    return after(0)


def after(seconds: float) -> datetime:
    """Return the time `seconds` from now."""
    return to_milliseconds(datetime.now(UTC) + timedelta(seconds=seconds))


def to_milliseconds(moment: datetime) -> datetime:
    """Truncate a time to milliseconds, the precision of BSON."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def rfc3339(moment: datetime) -> str:
    """Format a time as RFC 3339 in UTC (https://atproto.com/specs/lexicon#datetime)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
