"""Typed access to the fields of a MongoDB document."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeGuard

import bson
from bson import Code, CodecOptions, Decimal128
from bson.binary import UuidRepresentation

from worker.core.errors import PermanentError

# With `uuidRepresentation=standard` in the connection string, the driver returns UUID objects.
_OPTIONS: CodecOptions[dict[str, object]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD
)
_TYPES: Mapping[type, str] = {
    bool: "a boolean",  # before int, its base
    int: "a number",
    float: "a decimal number",
    Decimal128: "a decimal number",
    Code: "code",  # before str, its base
    str: "other text",
    datetime: "a date",
    dict: "an object",
    list: "an array",
    bytes: "binary data",
    type(None): "null",
}


class FieldError(PermanentError):
    """A field of the document is missing or has the wrong type."""

    step, code = "document", "field_invalid"

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(f"field {name!r} {fault}; correct it in MongoDB, then enqueue the item")
        self.field = name


def is_text(value: object) -> TypeGuard[str]:
    """Return whether a value is exactly `str`, not a subclass such as `bson.Code`."""
    return type(value) is str


def is_zero(value: object) -> bool:
    """Return whether MongoDB considers a value equal to 0 or false."""
    if isinstance(value, Decimal128):
        return value.to_decimal().is_zero()
    return isinstance(value, int | float) and value == 0


def wrong_type(name: str, wanted: str, value: object) -> FieldError:
    """Build the FieldError for a value that is not `wanted`, such as "text"."""
    return FieldError(name, f"must be {wanted}, not {_describe(value)}")


def _describe(value: object) -> str:
    """Return the type of a value in the terms of MongoDB's documentation."""
    for kind, described in _TYPES.items():
        if isinstance(value, kind):
            return described
    return f"a value of the type {type(value).__name__}"


class Fields:
    """The values of the document fields that a media type reads."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 hash of all values."""
        return hashlib.sha256(bson.encode(self._values, codec_options=_OPTIONS)).hexdigest()

    def equal(self, values: Mapping[str, object]) -> bool:
        return self._values == values

    def is_missing(self, name: str) -> bool:
        """Return whether a field is absent, null or an empty text."""
        value = self._values.get(name)
        return value is None or value == ""

    def differing(self, values: Mapping[str, object]) -> list[str]:
        """Return the names in `values` with another value here; dates as MongoDB saves them."""
        return [n for n, value in values.items() if _saved(value) != _saved(self._values.get(n))]

    def text(self, name: str, *alternatives: str) -> str:
        """Return the first text in these fields; raises FieldError if missing or invalid."""
        value = self.optional_text(name, *alternatives)
        if value is None:
            raise FieldError(name, "is missing")
        return value

    def optional_text(self, name: str, *alternatives: str) -> str | None:
        """Return the first text in these fields or None; raises FieldError if invalid."""
        for candidate in (name, *alternatives):
            value = self._values.get(candidate)
            if value is None or value == "":
                continue
            if not is_text(value):
                raise wrong_type(candidate, "text", value)
            return value
        return None

    def moment(self, name: str) -> datetime:
        """Return a date in UTC; raises FieldError if it is missing or invalid."""
        value = self._values.get(name)
        if value is None:
            raise FieldError(name, "is missing")
        if not isinstance(value, datetime):
            raise wrong_type(name, "a date", value)
        return _in_utc(value)


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _saved(value: object) -> object:
    """Return a value as MongoDB saves it: dates in UTC and without microseconds."""
    if not isinstance(value, datetime):
        return value
    return _in_utc(value).replace(microsecond=value.microsecond // 1000 * 1000)
