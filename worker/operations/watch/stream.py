"""The edge to MongoDB's change streams: opening one, and what its errors mean to us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pymongo.change_stream import DatabaseChangeStream
from pymongo.database import Database
from pymongo.errors import OperationFailure

from worker.core.errors import MediaError, PermanentError
from worker.database.mongo import RawDocument, translated
from worker.operations.watch.checkpoint import Token

_PATIENCE = 100  # milliseconds for which MongoDB waits for a change, when there is none
_PRE_IMAGES = 17  # the wire version of MongoDB 6.0
_NO_REPLICA_SET = 40573
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml: the position is no
# longer in the oplog, or not of this one. The first three are tokens that cannot be read at all,
# the last is an event that is too large to be told, and would be so again.
_LOST = frozenset({9, 15, 40647, 136, 260, 280, 286, 10334})
_NOT_RESUMABLE = "NonResumableChangeStreamError"


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
def opened(
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
            max_await_time_ms=_PATIENCE,
        )
    with stream:
        yield stream


def next_of(stream: DatabaseChangeStream[RawDocument]) -> RawDocument | None:
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
    with translated():
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
