"""Making states say what was seen in a repo: for records that others wrote, and after an audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from worker.core.clock import now
from worker.core.documents import MediaDocument, Status
from worker.core.records import RecordKey
from worker.database.leases import MALFORMED_STATE
from worker.database.mongo import DUPLICATE_KEY, RawDocument, mongo_errors
from worker.database.store import DocumentStore
from worker.media import MediaType


@dataclass(frozen=True, slots=True)
class StateUpdate:
    """What a document's state has to say: where its record is, and at which version.

    Without a `cid` the record is not there. With `drop_blobs` its blobs are uploaded anew.
    """

    document: MediaDocument
    repo: str
    rkey: str
    cid: str | None
    drop_blobs: bool = False


class StateUpdates:
    """Corrects the states of documents that no run holds."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def apply(
        self, kind: MediaType, state_updates: Sequence[StateUpdate], *, retry_at: datetime | None
    ) -> int:
        """Correct states; return how many were, which may be fewer.

        With `retry_at` the documents are pending until then, when a sweep enqueues them at the
        latest; without it, status and time stay as they are. Left alone are documents that a
        run holds or has held since they were read, and those whose key another one has.
        """
        if not state_updates:
            return 0
        collection = self._store.collection(kind)
        ids = [state_update.document.ref.id for state_update in state_updates]
        writes = [_write(kind, state_update, retry_at) for state_update in state_updates]
        with mongo_errors():
            collection.update_many(
                {"_id": {"$in": ids}, **MALFORMED_STATE}, {"$unset": {"atproto": ""}}
            )
            try:
                return collection.bulk_write(writes, ordered=False).matched_count
            except BulkWriteError as error:
                if any(fault["code"] != DUPLICATE_KEY for fault in error.details["writeErrors"]):
                    raise
                return int(error.details["nMatched"])


def _write(kind: MediaType, state_update: StateUpdate, retry_at: datetime | None) -> UpdateOne:
    state = state_update.document.state
    free = [{"atproto.lease": None}, {"atproto.lease.until": {"$lte": now()}}]
    match: RawDocument = {"_id": state_update.document.ref.id, "$or": free}
    match |= {"atproto.attemptedAt": {"$eq": state.attempted_at}}
    key = RecordKey(state_update.repo, kind.nsid, state_update.rkey)
    wanted: dict[str, object] = {"repo": key.repo, "rkey": key.rkey, "cid": state_update.cid}
    wanted |= {"uri": key.uri if state_update.cid else None}
    if state_update.drop_blobs:
        wanted["blobs"] = None
    if retry_at is not None:
        wanted |= {"status": Status.PENDING.value, "retryAt": retry_at}
    update = {
        "$set": {f"atproto.{name}": value for name, value in wanted.items() if value is not None},
        "$unset": {f"atproto.{name}": "" for name, value in wanted.items() if value is None},
    }
    return UpdateOne(match, {operator: fields for operator, fields in update.items() if fields})
