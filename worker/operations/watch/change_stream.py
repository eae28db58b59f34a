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
from pymongo.read_concern import ReadConcern

from worker.core.errors import MediaError, PermanentError
from worker.database.mongo import RawDocument, mongo_errors
from worker.media import MediaType
from worker.operations.watch.checkpoint import Token

_WHOLE = ("insert", "replace", "delete")
_RESETS = ("drop", "rename", "dropDatabase", "invalidate")
# The only fields of an event that are read; a document may have 16 MB.
_BEFORE = "fullDocumentBeforeChange"
_NEEDED = (
    *("operationType", "ns", "documentKey", "clusterTime"),
    *(f"{_BEFORE}.user", f"{_BEFORE}.atproto.rkey"),
)
_AWAIT_MS = 100  # milliseconds that MongoDB waits for a change
_PRE_IMAGES = 17  # the wire version of MongoDB 6.0
_NO_REPLICA_SET = 40573
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml: the oplog no
# longer contains the position, or is a different oplog. The first three codes mean that MongoDB
# cannot parse the token; the last that an event is too large to be sent, which is permanent.
_LOST = frozenset({9, 15, 40647, 136, 260, 280, 286, 10334})
_NOT_RESUMABLE = "NonResumableChangeStreamError"


@dataclass(frozen=True, slots=True)
class Change:
    """A document that was saved or deleted. `raw_id` is its `_id` as stored in MongoDB.

    `before` is the pre-image of a deleted document, reduced to `user` and `atproto.rkey`; None
    without a pre-image.
    """

    kind: MediaType
    raw_id: object
    at: datetime
    is_gone: bool = False
    before: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class StreamReset:
    """A drop or rename of a collection or the database, without events per document."""

    what: str


def pipeline(kinds: Iterable[MediaType]) -> list[RawDocument]:
    """Return the stages that select events that may change a record, and trim them.

    An update passes if it changes a field that the type reads. Updates of `atproto` by the engine
    and updates of counters do not pass.
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
    """Parse an event of this pipeline."""
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
    before = raw.get(_BEFORE)
    return before if isinstance(before, dict) else None


def _updates_of(kind: MediaType) -> RawDocument:
    touched: RawDocument = {"$setIntersection": [_collect_updated_fields(), [*kind.read_fields]]}
    return {
        "ns.coll": kind.collection,
        "operationType": "update",
        "$expr": {"$ne": [touched, []]},
    }


def _collect_updated_fields() -> RawDocument:
    """Return an expression for the top-level fields that an update has changed."""
    description = "$updateDescription"
    updated = {"$objectToArray": {"$ifNull": [f"{description}.updatedFields", {}]}}
    return {
        "$concatArrays": [
            _first_parts(updated, "$$this.k"),
            _first_parts({"$ifNull": [f"{description}.removedFields", []]}, "$$this"),
            _first_parts({"$ifNull": [f"{description}.truncatedArrays", []]}, "$$this.field"),
        ]
    }


def _first_parts(values: object, path: str) -> RawDocument:
    first = {"$arrayElemAt": [{"$split": [path, "."]}, 0]}
    return {"$map": {"input": values, "in": first}}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


class PositionLostError(MediaError):
    """The oplog no longer contains the changes since the position."""

    step = "watch"
    code = "position_lost"


class NoReplicaSetError(PermanentError):
    """MongoDB is not a replica set, so it has no oplog."""

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
    """Open a change stream that starts after a token, or now if it is None.

    Raises PositionLostError, NoReplicaSetError, StoreUnavailableError.
    """
    with _stream_errors():
        before = "whenAvailable" if _has_pre_images(database) else None
        stream = database.with_options(read_concern=ReadConcern("majority")).watch(
            pipeline,
            start_after=token,  # unlike resume_after, accepts the token of an invalidate event
            full_document_before_change=before,
            max_await_time_ms=_AWAIT_MS,
        )
    with stream:
        yield stream


def next_event(stream: DatabaseChangeStream[RawDocument]) -> tuple[RawDocument | None, Token]:
    """Return the next event, or None after a short wait, and its resume token.

    Raises PositionLostError, StoreUnavailableError.
    """
    with _stream_errors():
        event = stream.try_next()
    if event is None and not stream.alive:
        raise PositionLostError("MongoDB ended the change stream")
    return event, cast("Token", stream.resume_token)


def _has_pre_images(database: Database[RawDocument]) -> bool:
    return int(database.command("hello")["maxWireVersion"]) >= _PRE_IMAGES


@contextmanager
def _stream_errors() -> Iterator[None]:
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
