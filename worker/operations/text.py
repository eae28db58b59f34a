"""Texts of others, made fit to be shown: on a terminal and on a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from worker.core.clock import rfc3339

_MAX_CHARACTERS = 300
_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def printable(text: str) -> str:
    """Return a text with all that is neither a character to see nor a space escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shorten(text: str) -> str:
    """Return the beginning of a text that is too long to read at a glance, and its length."""
    if len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:_MAX_CHARACTERS]}... ({len(text)} characters)"


def format_duration(seconds: float) -> str:
    """Return a length of time in its largest unit; less than none is none."""
    length = max(0.0, seconds)
    name, size = next((unit for unit in _UNITS if length >= unit[1]), _UNITS[-1])
    count = int(length // size)
    return f"{count} {name}{'' if count == 1 else 's'}"


def format_value(value: object) -> str:
    """Return a value of MongoDB or of a record in one line, shortened."""
    if isinstance(value, Mapping | list | tuple):
        return shorten(json.dumps(value, ensure_ascii=False, default=as_text))
    return shorten(as_text(value))


def as_text(value: object) -> str:
    """Return a value of MongoDB that JSON has no form for as a text."""
    return rfc3339(as_utc(value)) if isinstance(value, datetime) else str(value)


def as_utc(moment: datetime) -> datetime:
    """Return a moment that names no time zone as the one in UTC that it is in MongoDB."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
