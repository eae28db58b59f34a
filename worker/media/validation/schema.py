"""Parse lexicon documents into `Schema` objects.

https://atproto.com/specs/lexicon#lexicon-files
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.media.validation.blobs import BlobRule
from worker.media.validation.data_model import OWN_FORMATS
from worker.media.validation.errors import Violation, join, label, quote
from worker.media.validation.keywords import (
    DOCUMENT,
    RECORD,
    TOKEN,
    check_definition,
    check_keywords,
)


@dataclass(frozen=True, slots=True)
class Schema:
    """The parsed definition of a field, or of a record (with the kind `object`).

    `format` is set only for the formats in `OWN_FORMATS`. `library` is the JSON definition for
    `lexrpc`, without the parts that this package validates: blobs, `OWN_FORMATS`, `required`.
    """

    kind: str
    library: Mapping[str, object]
    format: str | None = None
    blob: BlobRule | None = None
    items: Schema | None = None
    properties: Mapping[str, Schema] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    nullable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lexicon:
    """A lexicon that defines a record: NSID, JSON document and parsed schema."""

    nsid: str
    document: Mapping[str, object]
    record: Schema


def read_lexicon(document: object, nsid: str) -> Lexicon:
    """Parse a lexicon document; it must define the record `nsid` with TIDs as keys.

    Unused definitions are checked too. Raises Violation for the first invalid definition.
    """
    root = _object(document, "document")
    _expect(root, "lexicon", 1, "")
    _expect(root, "id", nsid, "")
    defs = _object(root.get("defs"), "defs")
    main = _object(defs.get("main"), "defs.main")
    _expect(main, "type", "record", "defs.main")
    _expect(main, "key", "tid", "defs.main")
    record = _SchemaReader(defs).record(main.get("record"), "defs.main.record")
    check_keywords(DOCUMENT, root, "")
    check_keywords(RECORD, main, "defs.main")
    for name in defs.keys() - {"main"}:
        _SchemaReader(defs, (name,)).check(name)
    return Lexicon(nsid, root, record)


def _object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Violation(path, f"should be an object, got {quote(value)}")
    return value


def _expect(source: dict[str, Any], key: str, expected: object, path: str) -> None:
    found = source.get(key)
    if type(found) is not type(expected) or found != expected:
        raise Violation(join(path, key), f"should be {expected!r}, got {quote(found)}")


@dataclass(frozen=True, slots=True)
class _SchemaReader:
    """Parses definitions; `inside` contains the names of the enclosing ones."""

    defs: dict[str, Any]
    inside: tuple[str, ...] = ()

    def record(self, source: object, path: str) -> Schema:
        """Parse the definition of a record, which must be an object."""
        definition = check_definition(source, path)
        _expect(definition, "type", "object", path)
        return self._object(definition, path, self._field)

    def _field(self, source: object, path: str) -> Schema:
        """Parse the definition of a field of the record; only these may be blobs."""
        definition = check_definition(source, path)
        if definition["type"] == "blob":
            rule = BlobRule(tuple(definition.get("accept", ())), definition.get("maxSize"))
            return Schema("blob", {}, blob=rule)
        return self._inner(definition, path)

    def _inner(self, source: object, path: str) -> Schema:
        """Parse a definition that is neither a blob nor an inline object."""
        definition = check_definition(source, path)
        kind: str = definition["type"]
        if kind == "blob":
            raise Violation(path, "is a blob, which only the record itself may contain")
        if kind == "object":
            raise Violation(path, "is an object, which needs a definition of its own and a ref")
        if kind == "ref":
            return self._target(definition["ref"], join(path, "ref"))
        if kind == "array":
            items = self._inner(definition["items"], join(path, "items"))
            return Schema(kind, {**definition, "items": items.library}, items=items)
        return _scalar(kind, definition)

    def _target(self, ref: str, path: str) -> Schema:
        """Parse the definition that `ref` names, which must be in this document."""
        name = ref.removeprefix("#")
        if name == ref or name not in self.defs:
            raise Violation(path, f"should be # and a name in defs, got {quote(ref)}")
        if name in self.inside:
            raise Violation(path, f"leads back to {quote(ref)} endlessly")
        return _SchemaReader(self.defs, (*self.inside, name))._definition(name)

    def check(self, name: str) -> None:
        """Raise Violation if the definition `name`, which may be a token, is invalid."""
        source = self.defs[name]
        if isinstance(source, dict) and source.get("type") == "token":
            check_keywords(TOKEN, source, join("defs", label(name)))
        else:
            self._definition(name)

    def _definition(self, name: str) -> Schema:
        where = join("defs", label(name))
        definition = check_definition(self.defs[name], where)
        if definition["type"] == "object":
            return self._object(definition, where, self._inner)
        return self._inner(definition, where)

    def _object(
        self, definition: dict[str, Any], path: str, read: Callable[[object, str], Schema]
    ) -> Schema:
        """Parse an object definition; `read` parses each property."""
        properties: dict[str, Schema] = {}
        for name, source in definition["properties"].items():
            where = join(join(path, "properties"), label(name))
            if not name or name.startswith("$"):
                raise Violation(where, "is a reserved name")
            properties[name] = read(source, where)
        nullable = _names(definition, "nullable", path)
        parts = {name: part.library for name, part in properties.items() if part.kind != "blob"}
        return Schema(
            "object",
            {"type": "object", "properties": parts, "nullable": sorted(nullable)},
            properties=properties,
            required=_names(definition, "required", path),
            nullable=nullable,
        )


def _scalar(kind: str, definition: dict[str, Any]) -> Schema:
    if (own := definition.get("format")) in OWN_FORMATS:
        library = {key: value for key, value in definition.items() if key != "format"}
        return Schema(kind, library, format=own)
    return Schema(kind, definition)


def _names(definition: dict[str, Any], keyword: str, path: str) -> frozenset[str]:
    """Return the names in `required` or `nullable`; all must be in `properties`."""
    for name in definition.get(keyword, ()):
        if name not in definition["properties"]:
            raise Violation(join(path, keyword), f"names {quote(name)}, which is not in properties")
    return frozenset(definition.get(keyword, ()))
