"""Open a change stream, and translate its events and errors.

Source: https://www.mongodb.com/docs/manual/reference/change-events/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from bson import Timestamp
from pymongo.change_stream import DatabaseChangeStream
from pymongo.database import Database
from pymongo.errors import OperationFailure

from worker.core.errors import MediaError, PermanentError
from worker.database.mongo import RawDocument, mongo_errors
from worker.media import MediaType
from worker.operations.watch.checkpoint import Token

_WHOLE = ("insert", "replace", "delete")
_RESETS = ("drop", "rename", "dropDatabase", "invalidate")
# A document of 16 MB is not sent along: nothing but its name is needed.
_NEEDED = ("operationType", "ns", "documentKey", "clusterTime", "fullDocumentBeforeChange.user")
_AWAIT_MS = 100  # milliseconds for which MongoDB waits for a change, when there is none
_PRE_IMAGES = 17  # the wire version of MongoDB 6.0
_NO_REPLICA_SET = 40573
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml: the position is no
# longer in the oplog, or not of this one. The first three are tokens that cannot be read at all,
# the last is an event that is too large to be told, and would be so again.
_LOST = frozenset({9, 15, 40647, 136, 260, 280, 286, 10334})
_NOT_RESUMABLE = "NonResumableChangeStreamError"


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
class StreamReset:
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
        {"ns.coll": collections, "operationType": {"$in": [*_WHOLE, *_RESETS]}},
        {"to.coll": collections, "operationType": "rename"},
        {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
        *map(_updates_of, every),
    ]
    return [{"$match": {"$or": matching}}, {"$project": dict.fromkeys(_NEEDED, 1)}]


def parse_event(raw: RawDocument, by_collection: Mapping[str, MediaType]) -> Change | StreamReset:
    """Return what an event of this pipeline means."""
    operation, where = str(raw["operationType"]), _mapping(raw.get("ns"))
    if operation in _RESETS:
        return StreamReset(f"{where.get('coll', 'the database')}: {operation}")
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
    read_by_it = [*kind.fields, *kind.takedown_flags, "user"]
    touched: RawDocument = {"$setIntersection": [_collect_updated_fields(), read_by_it]}
    return {
        "ns.coll": kind.collection,
        "operationType": "update",
        "$expr": {"$ne": [touched, []]},
    }


def _collect_updated_fields() -> RawDocument:
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


class PositionLostError(MediaError):
    """What happened since the position is not to be had from the oplog any more."""

    step = "watch"
    code = "position_lost"


class NoReplicaSetError(PermanentError):
    """There is no oplog to read."""

    step = "watch"
    code = "no_replica_set"

    def __init__(self) -> None:
        super().__init__(
            "the MongoDB of MONGODB_CONNECTION_STRING is no replica set, so it has no change "
            "stream: start it with --replSet and call rs.initiate() once; one member is enough"
        )


@contextmanager
def open_stream(
    database: Database[RawDocument], pipeline: Sequence[RawDocument], token: Token | None
) -> Iterator[DatabaseChangeStream[RawDocument]]:
    """Follow a database from after a token, or from now on.

    Raises PositionLostError, NoReplicaSetError, StoreUnavailableError.
    """
    with _told():
        before = "whenAvailable" if _has_pre_images(database) else None
        stream = database.watch(
            pipeline,
            resume_after=token,
            full_document_before_change=before,
            max_await_time_ms=_AWAIT_MS,
        )
    with stream:
        yield stream


def next_event(stream: DatabaseChangeStream[RawDocument]) -> RawDocument | None:
    """Return the next event, None when there is none for a moment.

    Raises PositionLostError, StoreUnavailableError.
    """
    with _told():
        event = stream.try_next()
    if event is None and not stream.alive:
        raise PositionLostError("MongoDB ended the change stream")
    return event


def _has_pre_images(database: Database[RawDocument]) -> bool:
    return int(database.command("hello")["maxWireVersion"]) >= _PRE_IMAGES


@contextmanager
def _told() -> Iterator[None]:
    with mongo_errors():
        try:
            yield
        except OperationFailure as error:
            if error.code == _NO_REPLICA_SET:
                raise NoReplicaSetError from error
            if error.code in _LOST or error.has_error_label(_NOT_RESUMABLE):
                raise PositionLostError(
                    f"MongoDB cannot go on from there ({error.code})"
                ) from error
            raise
