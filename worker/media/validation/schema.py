"""Lexicon documents and field definitions: from JSON to values that are cheap to walk.

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
    check_definition,
    check_document,
    check_record,
    check_token,
)


@dataclass(frozen=True, slots=True)
class Schema:
    """One field's definition, or a whole record's (`kind` is then `object`).

    `format` is set for the formats in `OWN_FORMATS` only. `library` is the definition in JSON
    without what this package judges itself: blobs, those formats, which fields are required.
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
    """One lexicon document that defines a record: its NSID, its JSON, the record's fields."""

    nsid: str
    document: Mapping[str, object]
    record: Schema


def read_lexicon(document: object, nsid: str) -> Lexicon:
    """Read a lexicon document that should define the record `nsid`, kept under TIDs.

    All of it is read, definitions that nothing refers to as well. Raises Violation with the path in
    the document and what is wrong there.
    """
    root = _object(document, "document")
    _expect(root, "lexicon", 1, "lexicon")
    _expect(root, "id", nsid, "id")
    defs = _object(root.get("defs"), "defs")
    main = _object(defs.get("main"), "defs.main")
    _expect(main, "type", "record", "defs.main.type")
    _expect(main, "key", "tid", "defs.main.key")
    record = _SchemaReader(defs).record(main.get("record"), "defs.main.record")
    check_document(root)
    check_record(main, "defs.main")
    for name in defs.keys() - {"main"}:
        _SchemaReader(defs, (name,)).resolve(name)
    return Lexicon(nsid, root, record)


def _object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Violation(path, f"should be an object, got {quote(value)}")
    return value


def _expect(source: dict[str, Any], key: str, expected: object, path: str) -> None:
    found = source.get(key)
    if type(found) is not type(expected) or found != expected:
        raise Violation(path, f"should be {expected!r}, got {quote(found)}")


@dataclass(frozen=True, slots=True)
class _SchemaReader:
    """Reads definitions; `defs` are those with a name, `inside` the references that led here."""

    defs: dict[str, Any]
    inside: tuple[str, ...] = ()

    def record(self, source: object, path: str) -> Schema:
        """Read the record's own definition."""
        definition = check_definition(source, path)
        _expect(definition, "type", "object", join(path, "type"))
        return self._object(definition, path, self._field)

    def _field(self, source: object, path: str) -> Schema:
        """Read a field of the record, the only place for a blob: its upload has a state."""
        definition = check_definition(source, path)
        if definition["type"] == "blob":
            rule = BlobRule(tuple(definition.get("accept", ())), definition.get("maxSize"))
            return Schema("blob", {}, blob=rule)
        return self._inner(definition, path)

    def _inner(self, source: object, path: str) -> Schema:
        """Read what may stand in any place."""
        definition = check_definition(source, path)
        kind: str = definition["type"]
        if kind == "blob":
            raise Violation(path, "is a blob, which only the record itself may hold")
        if kind == "object":
            raise Violation(
                path, "is an object, which needs a definition of its own and a ref to it"
            )
        if kind == "ref":
            return self._target(definition["ref"], join(path, "ref"))
        if kind == "array":
            items = self._inner(definition["items"], join(path, "items"))
            return Schema(kind, {**definition, "items": items.library}, items=items)
        return _scalar(kind, definition)

    def _target(self, ref: str, path: str) -> Schema:
        """Read what a reference to a definition in the same document points to."""
        name = ref.removeprefix("#")
        if name == ref or name not in self.defs:
            raise Violation(path, f"should be # and a name in defs, got {quote(ref)}")
        if name in self.inside:
            raise Violation(path, f"leads back to {quote(ref)} without end")
        return _SchemaReader(self.defs, (*self.inside, name))._definition(name)

    def resolve(self, name: str) -> None:
        """Read a definition that may be there for others to refer to; raises Violation."""
        source, where = self.defs[name], join("defs", label(name))
        if isinstance(source, dict) and source.get("type") == "token":
            check_token(source, where)
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
        """Read an object, its properties by `read`."""
        properties: dict[str, Schema] = {}
        for name, source in definition["properties"].items():
            where = join(join(path, "properties"), label(name))
            if not name or name.startswith("$"):
                raise Violation(where, "is a reserved name")
            properties[name] = read(source, where)
        nullable = _names(definition, "nullable", path)
        return Schema(
            "object",
            _library_object(properties, nullable),
            properties=properties,
            required=_names(definition, "required", path),
            nullable=nullable,
        )


def _scalar(kind: str, definition: dict[str, Any]) -> Schema:
    if (own := definition.get("format")) in OWN_FORMATS:
        library = {key: value for key, value in definition.items() if key != "format"}
        return Schema(kind, library, format=own)
    return Schema(kind, definition)


def _library_object(
    properties: Mapping[str, Schema], nullable: frozenset[str]
) -> dict[str, object]:
    parts = {name: part.library for name, part in properties.items() if part.kind != "blob"}
    return {"type": "object", "properties": parts, "nullable": sorted(nullable)}


def _names(definition: dict[str, Any], keyword: str, path: str) -> frozenset[str]:
    """Return the properties that `required` or `nullable` lists, once they all exist."""
    for name in definition.get(keyword, ()):
        if name not in definition["properties"]:
            raise Violation(join(path, keyword), f"names {quote(name)}, which is not in properties")
    return frozenset(definition.get(keyword, ()))
