"""What a change stream tells of documents: which of it matters, and what it means. Pure.

Source: https://www.mongodb.com/docs/manual/reference/change-events/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from bson import Timestamp

from worker.database.mongo import RawDocument
from worker.media import MediaType

_WHOLE = ("insert", "replace", "delete")
_UPHEAVALS = ("drop", "rename", "dropDatabase", "invalidate")
# A document of 16 MB is not sent along: nothing but its name is needed.
_NEEDED = ("operationType", "ns", "documentKey", "clusterTime", "fullDocumentBeforeChange.user")


@dataclass(frozen=True, slots=True)
class Change:
    """A document that was saved, or is gone. `raw_id` is its `_id` as MongoDB has it.

    `before` is what is known of a deleted one: its `user`, if it had one; None if nothing is.
    """

    kind: MediaType
    raw_id: object
    at: datetime
    is_gone: bool = False
    before: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Upheaval:
    """A collection, or all, was dropped or renamed: what that changed is told of no document."""

    what: str


def pipeline(kinds: Iterable[MediaType]) -> list[RawDocument]:
    """Return the stages that let pass what may change a record, and of that what is needed.

    An update matters if it touches a field that the type reads: one of `atproto` alone, such as
    each of the engine's own, does not, and neither does a counter.
    """
    every = list(kinds)
    collections = {"$in": [kind.collection for kind in every]}
    matching: list[RawDocument] = [
        {"ns.coll": collections, "operationType": {"$in": [*_WHOLE, *_UPHEAVALS]}},
        {"to.coll": collections, "operationType": "rename"},
        {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
        *map(_updates_of, every),
    ]
    return [{"$match": {"$or": matching}}, {"$project": dict.fromkeys(_NEEDED, 1)}]


def read(raw: RawDocument, by_collection: Mapping[str, MediaType]) -> Change | Upheaval:
    """Return what an event of this pipeline means."""
    operation, where = str(raw["operationType"]), _mapping(raw.get("ns"))
    if operation in _UPHEAVALS:
        return Upheaval(f"{where.get('coll', 'the database')}: {operation}")
    return Change(
        kind=by_collection[str(where["coll"])],
        raw_id=_mapping(raw["documentKey"])["_id"],
        at=cast("Timestamp", raw["clusterTime"]).as_datetime().astimezone(UTC),
        is_gone=operation == "delete",
        before=_before(raw),
    )


def _before(raw: RawDocument) -> Mapping[str, object] | None:
    before = raw.get("fullDocumentBeforeChange")
    return before if isinstance(before, dict) else None


def _updates_of(kind: MediaType) -> RawDocument:
    read_by_it = [*kind.fields, *kind.gone, "user"]
    touched: RawDocument = {"$setIntersection": [_touched_fields(), read_by_it]}
    return {
        "ns.coll": kind.collection,
        "operationType": "update",
        "$expr": {"$ne": [touched, []]},
    }


def _touched_fields() -> RawDocument:
    """Return the expression for the top-level names of what an update has touched."""
    told = "$updateDescription"
    updated = {"$objectToArray": {"$ifNull": [f"{told}.updatedFields", {}]}}
    return {
        "$concatArrays": [
            _first_parts(updated, "$$this.k"),
            _first_parts({"$ifNull": [f"{told}.removedFields", []]}, "$$this"),
            _first_parts({"$ifNull": [f"{told}.truncatedArrays", []]}, "$$this.field"),
        ]
    }


def _first_parts(values: object, path: str) -> RawDocument:
    first = {"$arrayElemAt": [{"$split": [path, "."]}, 0]}
    return {"$map": {"input": values, "in": first}}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
