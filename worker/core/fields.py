"""Typed reading of a MongoDB document's own fields, with errors that name the field."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeGuard

import bson

from worker.core.errors import PermanentError


class FieldError(PermanentError):
    """A field of the document is missing or not of its type."""

    step = "document"
    code = "field_invalid"

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(f"field {name!r} {fault}; correct it in MongoDB, then enqueue the item")
        self.field = name


def is_text(value: object) -> TypeGuard[str]:
    """Tell whether a value of MongoDB's is a text: code is one to Python, but has no hash."""
    return type(value) is str


def wrong_type(name: str, wanted: str, value: object) -> FieldError:
    """Return the error of a field that is of another type."""
    return FieldError(name, f"must be {wanted}, not {type(value).__name__}")


class Fields:
    """The fields of one document that a media type asked for."""

    __slots__ = ("_fingerprint", "_values")

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self._fingerprint: str | None = None

    @property
    def fingerprint(self) -> str:
        """Return what tells this content from any other; found when it is first asked for."""
        if self._fingerprint is None:
            self._fingerprint = hashlib.sha256(bson.encode(self._values)).hexdigest()
        return self._fingerprint

    def equal(self, values: Mapping[str, object]) -> bool:
        """Tell whether these are the values of all fields."""
        return self._values == values

    def text(self, name: str, *alternatives: str) -> str:
        """Return a required text, from the first of the names that the document has.

        Raises FieldError when none is there, or it is not a text, or it is empty.
        """
        value = self.optional_text(name, *alternatives)
        if value is None:
            raise FieldError(name, "is missing")
        return value

    def optional_text(self, name: str, *alternatives: str) -> str | None:
        """Return a text, or None when absent, null or empty; raises FieldError on another type."""
        for candidate in (name, *alternatives):
            value = self._values.get(candidate)
            if value is None or value == "":
                continue
            if not is_text(value):
                raise wrong_type(candidate, "a text", value)
            return value
        return None

    def moment(self, name: str) -> datetime:
        """Return a required date, as an aware datetime in UTC; raises FieldError."""
        value = self._values.get(name)
        if value is None:
            raise FieldError(name, "is missing")
        if not isinstance(value, datetime):
            raise wrong_type(name, "a date", value)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
