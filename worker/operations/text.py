"""Format values and third-party texts for the terminal and the status page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from worker.core.clock import rfc3339
from worker.core.text import MAX_SHOWN, truncate

_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
STATE_LABELS = {
    "rkey": "record key",
    "uri": "URI",
    "cid": "CID",
    "attemptedAt": "last attempt",
    "syncedAt": "last confirmed",
    "publishedAt": "record last written",
    "failingSince": "failing since",
    "retryAt": "next attempt",
    "heldUntil": "no calls until",
    "lost": "runs that died",
    "strays": "stray writes",
}
"""The names of an item's state fields, as displayed."""


def format_duration(seconds: float) -> str:
    """Format a duration in whole units of the largest unit; 0 if it is negative."""
    length = max(0.0, seconds)
    name, size = next((unit for unit in _UNITS if length >= unit[1]), _UNITS[-1])
    count = int(length // size)
    return count_of(count, name)


def count_of(number: int, noun: str) -> str:
    """Return a number with a noun, in the plural unless the number is 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_value(value: object) -> str:
    """Format a value from MongoDB or a record; truncate texts over 300 characters."""
    if isinstance(value, Mapping | list | tuple):
        return truncate(json.dumps(value, ensure_ascii=False, default=as_text), MAX_SHOWN)
    return truncate(as_text(value), MAX_SHOWN)


def as_text(value: object) -> str:
    """Format a datetime as RFC 3339, and any other value with `str`."""
    return rfc3339(as_utc(value)) if isinstance(value, datetime) else str(value)


def as_utc(moment: datetime) -> datetime:
    """Return a time with a time zone; a naive time from MongoDB is taken as UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
