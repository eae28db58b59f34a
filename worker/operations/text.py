"""Format values and third-party texts for the terminal and the status page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from worker.core.clock import rfc3339

_MAX_CHARACTERS = 300
_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def printable(text: str) -> str:
    """Escape all characters of a text that are not printable."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shorten(text: str) -> str:
    """Cut a long text, and append its length."""
    if len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:_MAX_CHARACTERS]}... ({len(text)} characters)"


def format_duration(seconds: float) -> str:
    """Format a duration in its largest unit. Negative durations count as zero."""
    length = max(0.0, seconds)
    name, size = next((unit for unit in _UNITS if length >= unit[1]), _UNITS[-1])
    count = int(length // size)
    return f"{count} {name}{'' if count == 1 else 's'}"


def format_value(value: object) -> str:
    """Format a value of MongoDB or of a record on one line, shortened."""
    if isinstance(value, Mapping | list | tuple):
        return shorten(json.dumps(value, ensure_ascii=False, default=as_text))
    return shorten(as_text(value))


def as_text(value: object) -> str:
    """Return the text of a MongoDB value that JSON cannot represent."""
    return rfc3339(as_utc(value)) if isinstance(value, datetime) else str(value)


def as_utc(moment: datetime) -> datetime:
    """Return a time with its time zone; naive times from MongoDB are UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
