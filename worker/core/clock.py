"""The one clock: UTC, in whole milliseconds, as MongoDB and the records keep it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """Return the present moment in UTC, cut to milliseconds."""
    return to_milliseconds(datetime.now(UTC))


def after(seconds: float) -> datetime:
    """Return the moment `seconds` from now."""
    return to_milliseconds(datetime.now(UTC) + timedelta(seconds=seconds))


def to_milliseconds(moment: datetime) -> datetime:
    """Cut a moment to the milliseconds that BSON can hold."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def rfc3339(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC with milliseconds and `Z`.

    Source: https://atproto.com/specs/lexicon#datetime
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
