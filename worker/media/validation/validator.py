"""Validate records against their lexicons.

`lexrpc` checks types, lengths, ranges, enumerations and most string formats. This package checks
required and undeclared fields, null values, blobs and the other string formats.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from worker.core.errors import PermanentError
from worker.media.validation.blobs import BlobRule, check_blob
from worker.media.validation.data_model import OWN_FORMATS, check_data
from worker.media.validation.errors import Violation, join, label, quote
from worker.media.validation.schema import Lexicon, Schema

_MAX_REASON = 120
_ADVICE = {"ref": "; it is the document's _id: save the document with a shorter _id"}


class InvalidRecordError(PermanentError):
    """A record violates its lexicon; `field` is the path of the field, such as `tags[2]`."""

    step, code = "validate", "lexicon_violation"

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field  # pickle restores it from `__dict__`

    @classmethod
    def of(cls, nsid: str, field: str, reason: str) -> InvalidRecordError:
        return cls(f"{nsid}: {field} {reason}", field)


class Lexicons:
    """The lexicons of all record types by NSID.

    All methods raise PermanentError for an NSID without a lexicon. `validate` also raises it for an
    invalid record. The message contains the NSID, the path of the field (`thumbnail.mimeType`,
    `tags[2]`), the rule and a short excerpt of the value or, for a long text, its size.
    """

    def __init__(self, lexicons: Mapping[str, Lexicon]) -> None:
        self._lexicons = dict(lexicons)

    @property
    def nsids(self) -> tuple[str, ...]:
        return tuple(self._lexicons)

    def validate(self, nsid: str, record: Mapping[str, object]) -> None:
        """Raise PermanentError if `record`, in JSON form, violates the lexicon `nsid`.

        Fields that the lexicon does not declare, except `$type`, are rejected as mistakes of a
        media type, although the protocol allows them.
        """
        schema = self._find(nsid).record
        try:
            self._check(nsid, schema, check_data(record))
        except Violation as fault:
            raise InvalidRecordError.of(nsid, fault.field, fault.reason) from None

    def _check(self, nsid: str, schema: Schema, record: dict[str, object]) -> None:
        found = record.pop("$type", None)
        if found != nsid:
            raise Violation("$type", f"is required and should be {nsid!r}, got {quote(found)}")
        _check_shape(schema, record, "")
        if _library_fault(self._library, nsid, record) is not None:
            raise _find_violation(schema, record, "")

    def blob_rules(self, nsid: str) -> Mapping[str, BlobRule]:
        """Return the blob rules of the lexicon `nsid` by field name."""
        fields = self._find(nsid).record.properties.items()
        return {name: part.blob for name, part in fields if part.blob is not None}

    def properties(self, nsid: str) -> tuple[str, ...]:
        """Return the field names that the lexicon `nsid` declares, in order."""
        return tuple(self._find(nsid).record.properties)

    def document(self, nsid: str) -> dict[str, object]:
        """Return a deep copy of the lexicon document `nsid`."""
        return copy.deepcopy(dict(self._find(nsid).document))

    def _find(self, nsid: str) -> Lexicon:
        if nsid not in self._lexicons:
            known = ", ".join(self._lexicons)
            raise InvalidRecordError.of(
                label(nsid), "$type", f"has no lexicon; there is one for {known}"
            )
        return self._lexicons[nsid]

    @cached_property
    def _library(self) -> Any:
        return _load_library({nsid: lexicon.record for nsid, lexicon in self._lexicons.items()})


def _check_shape(schema: Schema, value: object, path: str) -> None:
    """Raise Violation for a fault in `value` that `lexrpc` does not find."""
    if schema.blob is not None:
        check_blob(schema.blob, value, path)
    elif schema.kind == "object" and isinstance(value, dict):
        _check_fields(schema, value, path)
    elif schema.items is not None and isinstance(value, list):
        for index, item in enumerate(value):
            _check_shape(schema.items, item, f"{path}[{index}]")
    elif schema.kind == "string" and isinstance(value, str):
        _check_text(schema, value, path)


def _check_text(schema: Schema, value: str, path: str) -> None:
    size, limit = len(value.encode()), schema.library.get("maxLength")
    if isinstance(limit, int) and size > limit:
        advice = _ADVICE.get(path, "")
        raise Violation(path, f"has {size} bytes in UTF-8, and may have {limit} at most{advice}")
    if schema.format and not OWN_FORMATS[schema.format](value):
        raise Violation(path, f"is not a valid {schema.format}, got {quote(value)}")


def _check_fields(schema: Schema, value: dict[str, object], path: str) -> None:
    for name in sorted(schema.required):
        if name not in value:
            raise Violation(join(path, name), "is required")
    for name, item in value.items():
        if (part := schema.properties.get(name)) is None:
            raise Violation(join(path, label(name)), "is not declared by the lexicon")
        if item is None and name not in schema.nullable:
            raise Violation(join(path, name), "should not be null")
        if item is not None:
            _check_shape(part, item, join(path, name))


def _load_library(schemas: Mapping[str, Schema]) -> Any:
    # Imported on first use, because the import takes 160 ms and producers never need it.
    from lexrpc.base import Base

    documents = [
        {"lexicon": 1, "id": nsid, "defs": {"main": {"type": "record", "record": schema.library}}}
        for nsid, schema in schemas.items()
    ]
    return Base(lexicons=documents, require_lexicons=False)


def _library_fault(library: Any, nsid: str, record: Mapping[str, object]) -> str | None:
    from lexrpc.base import ValidationError

    try:
        library.validate(nsid, "record", record)
    except ValidationError as error:
        return str(error)
    return None


def _find_violation(schema: Schema, value: object, path: str) -> Violation:
    """Build the Violation for the innermost invalid part of `value`.

    `lexrpc` does not report the field, so each part is validated alone. This is slow, but only
    runs for an invalid record.
    """
    for part, inner, where in _parts(schema, value, path):
        if _fault_alone(part, inner) is not None:
            return _find_violation(part, inner, where)
    return Violation(path, _fault_alone(schema, value) or "violates the lexicon")


def _parts(schema: Schema, value: object, path: str) -> Iterator[tuple[Schema, object, str]]:
    """Yield the schema, value and path of each property or list item of `value`."""
    if isinstance(value, dict):
        for name, part in schema.properties.items():
            if value.get(name) is not None and part.kind != "blob":
                yield part, value[name], join(path, name)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            yield schema.items, item, f"{path}[{index}]"


def _fault_alone(schema: Schema, value: object) -> str | None:
    """Validate `value` alone; return the error of `lexrpc`, or None if valid."""
    single = Schema("object", {"type": "object", "properties": {"value": schema.library}})
    message = _library_fault(_load_library({"value": single}), "value", {"value": value})
    if message is None:
        return None
    reason = message.rpartition("`: ")[2].removeprefix(str(value)).strip()
    return f"{reason[-_MAX_REASON:]}, got {quote(value)}"
