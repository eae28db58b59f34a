"""Validate a record against its lexicon.

`lexrpc` checks types, lengths, ranges, enumerations and most string formats; the modules beside
this one check what it lets through.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from worker.core.errors import PermanentError
from worker.media.validation.blobs import BlobRule, check_blob
from worker.media.validation.data_model import OWN_FORMATS, check_data
from worker.media.validation.errors import Violation, join, label, quote
from worker.media.validation.schema import Lexicon, Schema

_REASON = 120


class LexrpcValidator:
    """The lexicons as `lexrpc` holds them, parsed once.

    It is imported here, when the first record is validated, because that takes a sixth of a second
    that a producer should not pay.
    """

    def __init__(self, lexicons: Iterable[Lexicon]) -> None:
        from lexrpc.base import Base, ValidationError

        self._base = Base
        self._error = ValidationError
        self._known = self._load({lexicon.nsid: lexicon.record for lexicon in lexicons})

    def check(self, nsid: str, schema: Schema, record: Mapping[str, object]) -> None:
        """Check a record whose shape is right; raises Violation, naming the innermost field."""
        if self._reason(self._known, nsid, record) is not None:
            raise self._find(schema, record, "")

    def _load(self, schemas: Mapping[str, Schema]) -> Any:
        documents = [
            {"lexicon": 1, "id": nsid, "defs": {"main": {"type": "record", "record": part.library}}}
            for nsid, part in schemas.items()
        ]
        return self._base(lexicons=documents, require_lexicons=False)

    def _reason(self, base: Any, nsid: str, record: Mapping[str, object]) -> str | None:
        try:
            base.validate(nsid, "record", record)
        except self._error as error:
            return str(error)
        return None

    def _find(self, schema: Schema, value: object, path: str) -> Violation:
        """Narrow a refusal of `value` down to the innermost part that is refused by itself.

        The library's messages do not say where, so each part is tried alone. That is slow, but only
        a refused record pays for it.
        """
        for part, inner, where in _parts(schema, value, path):
            if self._alone(part, inner) is not None:
                return self._find(part, inner, where)
        return Violation(path, self._alone(schema, value) or "breaks the lexicon")

    def _alone(self, schema: Schema, value: object) -> str | None:
        """Say what the library has against `value` as the only field of a record, if anything."""
        single = Schema("object", {"type": "object", "properties": {"value": schema.library}})
        message = self._reason(self._load({"value": single}), "value", {"value": value})
        if message is None:
            return None
        reason = message.rpartition("`: ")[2].removeprefix(str(value)).strip()
        return f"{reason[-_REASON:]}, got {quote(value)}"


def _parts(schema: Schema, value: object, path: str) -> Iterator[tuple[Schema, object, str]]:
    """Yield what `value` is made of: each part's definition, value and path."""
    if isinstance(value, dict):
        for name, part in schema.properties.items():
            if value.get(name) is not None and part.kind != "blob":
                yield part, value[name], join(path, name)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            yield schema.items, item, f"{path}[{index}]"


class LexiconViolation(PermanentError):  # noqa: N818 - what the field calls it
    """A record that its lexicon does not allow.

    `field` is the path of the offending field (`thumbnail.mimeType`, `tags[2]`). The message names
    the NSID, the field and what is wrong, with a short excerpt of the value at most.
    """

    step = "validate"
    code = "lexicon_violation"

    def __init__(self, nsid: str, field: str, reason: str) -> None:
        super().__init__(f"{nsid}: {field} {reason}")
        self.nsid = nsid
        self.field = field
        self.reason = reason

    def __reduce__(self) -> tuple[type[LexiconViolation], tuple[str, str, str]]:
        """Pickle by the three parts, since a worker process may have to hand the error over."""
        return type(self), (self.nsid, self.field, self.reason)


class Lexicons:
    """The lexicons of all record types that can be published, by NSID.

    Every method raises LexiconViolation for an NSID without a lexicon.
    """

    def __init__(self, lexicons: Mapping[str, Lexicon]) -> None:
        self._lexicons = dict(lexicons)

    @property
    def nsids(self) -> tuple[str, ...]:
        """The NSIDs of the record types there are lexicons for."""
        return tuple(self._lexicons)

    def validate(self, nsid: str, record: Mapping[str, object]) -> None:
        """Check that `record`, in JSON form, is a valid record of the type `nsid`.

        Stricter than the protocol in one point: the protocol lets a record hold fields that its
        lexicon does not declare, ours may not (`$type` apart), since such a field can only be a
        mistake of ours. Raises LexiconViolation at the first rule broken.
        """
        schema = self._find(nsid).record
        try:
            plain = check_data(record)
            _check_type(nsid, plain.pop("$type", None))
            _check_shape(schema, plain, "")
            self._library.check(nsid, schema, plain)
        except Violation as fault:
            raise LexiconViolation(nsid, fault.field, fault.reason) from None

    def blob_rules(self, nsid: str) -> Mapping[str, BlobRule]:
        """Return what may be uploaded for each blob field of the type `nsid`, by field."""
        fields = self._find(nsid).record.properties.items()
        return {name: part.blob for name, part in fields if part.blob is not None}

    def properties(self, nsid: str) -> tuple[str, ...]:
        """Return the names of the fields of the type `nsid`, in the lexicon's order."""
        return tuple(self._find(nsid).record.properties)

    def required(self, nsid: str) -> frozenset[str]:
        """Return the names of the fields that a record of the type `nsid` must have."""
        return self._find(nsid).record.required

    def document(self, nsid: str) -> dict[str, object]:
        """Return a copy of the lexicon document of the type `nsid`."""
        return copy.deepcopy(dict(self._find(nsid).document))

    def _find(self, nsid: str) -> Lexicon:
        if nsid not in self._lexicons:
            known = ", ".join(self._lexicons)
            raise LexiconViolation(
                label(nsid), "$type", f"has no lexicon; there is one for {known}"
            )
        return self._lexicons[nsid]

    @cached_property
    def _library(self) -> LexrpcValidator:
        return LexrpcValidator(self._lexicons.values())


def _check_type(nsid: str, found: object) -> None:
    if found is None:
        raise Violation("$type", f"is required and should be {nsid!r}")
    if found != nsid:
        raise Violation("$type", f"should be {nsid!r}, got {quote(found)}")


def _check_shape(schema: Schema, value: object, path: str) -> None:
    """Check what the library does not: which fields there are, blobs, some string formats."""
    if schema.blob is not None:
        check_blob(schema.blob, value, path)
    elif schema.kind == "object" and isinstance(value, dict):
        _check_fields(schema, value, path)
    elif schema.items is not None and isinstance(value, list):
        for index, item in enumerate(value):
            _check_shape(schema.items, item, f"{path}[{index}]")
    elif schema.format and isinstance(value, str) and not OWN_FORMATS[schema.format](value):
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
