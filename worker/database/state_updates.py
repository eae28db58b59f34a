"""Update the states of documents to match the records in a repo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pymongo import UpdateOne

from worker.core.documents import BlobState, DocumentId, MediaDocument, Status, SyncState
from worker.core.records import RecordKey
from worker.database.leases import not_held
from worker.database.mongo import RawDocument, bulk_write, mongo_errors
from worker.database.state import dump_blobs, mapping, repo_fields
from worker.database.store import DocumentStore, field_changes
from worker.media import MediaType


@dataclass(frozen=True, slots=True)
class StateUpdate:
    """The record key, CID and blobs to save in a document's state.

    `cid` is None if the record is missing. `blobs` replaces the saved blobs; None keeps them. With
    an empty `blobs`, the next run uploads blobs again. `adopted` is the value of the state's field.
    """

    document: MediaDocument
    repo: str
    rkey: str
    cid: str | None
    blobs: Mapping[str, BlobState] | None = None
    adopted: bool = False

    def state_of(self, kind: MediaType, state: SyncState) -> SyncState:
        """Return `state` with this update, for a run that holds the document."""
        key = RecordKey(self.repo, kind.nsid, self.rkey)
        uri = key.uri if self.cid else None
        blobs = state.blobs if self.blobs is None else self.blobs
        keyed = state._replace(repo=key.repo, rkey=key.rkey, uri=uri, cid=self.cid)
        return keyed._replace(adopted=self.adopted, blobs=blobs)


class StateUpdates:
    """Updates the states of documents that no run holds."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def apply(
        self, kind: MediaType, state_updates: Sequence[StateUpdate], *, retry_at: datetime | None
    ) -> int:
        """Update states; return the number of updated documents.

        With `retry_at`, documents become pending, and the sweep enqueues them at that time.
        Otherwise their status and `retryAt` are unchanged. Documents are skipped if a run holds
        them or has claimed them since they were read, or if the record key is already taken.
        """
        if not state_updates:
            return 0
        with mongo_errors():
            self._store.clear_malformed(kind, [each.document.ref.id for each in state_updates])
            writes = [_write(kind, each, retry_at) for each in state_updates]
            return bulk_write(self._store.collection(kind), writes)

    def release_keys(self, kind: MediaType, repo: str, owners: Mapping[str, DocumentId]) -> None:
        """Take record keys from the states of documents that the records do not name.

        `owners` maps each rkey to the document that its record names.
        """
        match: RawDocument = {"atproto.repo": repo, "atproto.rkey": {"$in": list(owners)}}
        with mongo_errors():
            holders = list(self._store.collection(kind).find(match, {"atproto.rkey": 1}))
        for raw in holders:
            rkey = cast("str", mapping(raw["atproto"])["rkey"])
            if raw["_id"] != owners[rkey]:
                self._store.release_key(kind, repo, rkey, owners[rkey])


def _write(kind: MediaType, update: StateUpdate, retry_at: datetime | None) -> UpdateOne:
    match: RawDocument = {"_id": update.document.ref.id, **not_held()}
    match |= {"atproto.attemptedAt": {"$eq": update.document.state.attempted_at}}
    key = RecordKey(update.repo, kind.nsid, update.rkey)
    values = repo_fields(key.repo) | {"rkey": key.rkey, "cid": update.cid}
    values |= {"uri": key.uri if update.cid else None, "adopted": update.adopted or None}
    if update.blobs is not None:
        values["blobs"] = dump_blobs(update.blobs)
    if retry_at is not None:
        values |= {"status": Status.PENDING.value, "retryAt": retry_at}
    changes = field_changes(values)
    return UpdateOne(match, {operator: fields for operator, fields in changes.items() if fields})
