"""Read, claim and finish the documents of a batch with one call each.

A claim also reserves the record key, because it must be saved before the record is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pymongo import UpdateMany

from worker.core.documents import DocumentId, Failure, Lease, MediaDocument, Status, SyncState
from worker.core.ids import candidate_ids
from worker.database.leases import (
    MALFORMED_STATE,
    Update,
    claim_update,
    held_by,
    not_held,
    state_after_claim,
    unchanged_since,
)
from worker.database.mongo import RawDocument, bulk_write, mongo_errors
from worker.database.state import dump_lease, mapping
from worker.database.store import (
    DocumentStore,
    Finish,
    error_update,
    finish_changes,
    projection,
)
from worker.media import MediaType

_MAX_SIZE = 1 << 17  # bytes of a document; decoded, it needs up to 20 times as much memory
_IS_SMALL: RawDocument = {"$expr": {"$lt": [{"$bsonSize": "$$ROOT"}, _MAX_SIZE]}}


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """A raw document and its parsed form, before it is claimed."""

    raw: RawDocument
    document: MediaDocument

    @property
    def id(self) -> DocumentId:
        return self.document.ref.id

    @property
    def is_claimable(self) -> bool:
        """Return whether `atproto` can hold the fields of a claim (null cannot)."""
        return isinstance(self.raw.get("atproto", {}), dict)


class BatchStore:
    """Reads, claims and finishes the documents of a batch.

    Writes are UpdateMany, although each matches one document. The driver does not retry UpdateMany,
    so MongoDB saves no records for retries. Repeating a batch is safe.
    """

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def read(self, kind: MediaType, ids: Sequence[DocumentId]) -> list[LoadedDocument | None]:
        """Return the documents with these ids, in the order of `ids`.

        Missing documents, invalid ids, documents too large for a batch, and those that cannot be
        parsed result in None.
        """
        candidates = [candidate_ids(raw) for raw in ids]
        found = self._find(kind, [each for some in candidates for each in some], projection(kind))
        raws = (next((found[each] for each in some if each in found), None) for some in candidates)
        return [self._load(kind, raw) if raw else None for raw in raws]

    def _load(self, kind: MediaType, raw: RawDocument) -> LoadedDocument | None:
        try:
            return LoadedDocument(raw, self._store.parse(kind, raw))
        except Exception:  # noqa: BLE001
            # Any exception: a bug with one document must not fail the batch. `Engine` raises it
            # again, saves it and reports it.
            return None

    def claim(
        self,
        kind: MediaType,
        repo: str,
        wanted: Sequence[tuple[LoadedDocument, str | None]],
        lease: Lease,
    ) -> list[MediaDocument]:
        """Claim documents; return the claimed ones with their new state.

        `wanted` contains each document and the rkey to reserve in `repo`, or None. A document is
        not claimed if another run was faster, its rkey is taken, or its state cannot be saved.
        """
        documents = [
            loaded.document._replace(state=state_after_claim(loaded.document, lease, repo, rkey))
            for loaded, rkey in wanted
        ]
        dumped = dump_lease(lease)
        writes = [
            UpdateMany(unchanged_since(loaded.raw), _claim_update(document.state, dumped))
            for (loaded, _), document in zip(wanted, documents, strict=True)
        ]
        if self._write(kind, writes) == len(writes):
            return documents
        match: RawDocument = {"_id": {"$in": [document.ref.id for document in documents]}}
        match |= {"atproto.lease.token": lease.token}
        with mongo_errors():
            held = {raw["_id"] for raw in self._store.collection(kind).find(match, {"_id": 1})}
        return [document for document in documents if document.ref.id in held]

    def finish(
        self, kind: MediaType, ended: Sequence[tuple[MediaDocument, SyncState]]
    ) -> list[Finish]:
        """Write final states, release the leases, and return the results in order.

        If `again` was set during the run, it stays on the document, and the result is CHANGED.
        """
        writes = [UpdateMany(held_by(each), finish_changes(each, state)) for each, state in ended]
        matched = self._write(kind, writes)
        fields = projection(kind) | {"atproto.again": 1, "atproto.attemptedAt": 1}
        del fields["atproto"]
        found = self._find(kind, [document.ref.id for document, _ in ended], fields)
        is_sure = matched == len(writes)
        return [
            _finish_of(document, found.get(document.ref.id), is_sure=is_sure)
            for document, _ in ended
        ]

    def postpone(
        self, kind: MediaType, ids: Sequence[DocumentId], failure: Failure, retry_at: datetime
    ) -> None:
        """Save on documents why they were not processed, and when the sweep enqueues them.

        Attempts are not counted. Documents that are neither new nor pending, and those that
        another run holds, keep their status and error. Raises StoreUnavailableError.
        """
        waiting = {"atproto.status": {"$in": [None, Status.PENDING.value]}, **not_held()}
        failed = error_update(Status.PENDING, failure)
        writes = []
        for candidates in map(candidate_ids, ids):
            these: RawDocument = {"_id": {"$in": list(candidates)}}
            # A document that cannot be saved keeps its malformed state.
            usable = these | {"$nor": [MALFORMED_STATE]}
            writes.append(UpdateMany(these | MALFORMED_STATE, {"$unset": {"atproto": ""}}))
            writes.append(UpdateMany({"$and": [usable, waiting]}, failed))
            writes.append(UpdateMany(usable, {"$set": {"atproto.retryAt": retry_at}}))
        self._write(kind, writes)

    def _write(self, kind: MediaType, writes: Sequence[UpdateMany]) -> int:
        with mongo_errors():
            return bulk_write(self._store.collection(kind), writes)

    def _find(
        self, kind: MediaType, ids: Sequence[DocumentId], fields: Mapping[str, int]
    ) -> dict[object, RawDocument]:
        with mongo_errors():
            found = self._store.collection(kind).find({"_id": {"$in": ids}} | _IS_SMALL, fields)
            found.batch_size(len(ids) + 1)
            return {raw["_id"]: raw for raw in found}


def _finish_of(before: MediaDocument, raw: RawDocument | None, *, is_sure: bool) -> Finish:
    """Return the result of a run. With `is_sure`, no other run has taken over."""
    if raw is None:
        return Finish.VANISHED
    state = mapping(raw.pop("atproto", None))
    if not is_sure and state.get("attemptedAt") != before.state.attempted_at:
        return Finish.SUPERSEDED
    changed = state.get("again") is True or not before.fields.equal(raw)
    return Finish.CHANGED if changed else Finish.SETTLED


def _claim_update(state: SyncState, lease: Mapping[str, object]) -> Update:
    """Build the update of a claim. It omits the status, to update fewer indexes."""
    update = claim_update(state, lease)
    del update["$set"]["atproto.status"]
    return update
