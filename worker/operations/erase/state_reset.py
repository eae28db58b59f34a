"""Reset the states of documents after their records were removed in bulk.

The state is read before the record is removed. It is reset only if, since then, no run has claimed
the document or saved a stray write on it. The reset updates `attemptedAt`, so that a run that read
the state earlier cannot claim the document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

from pymongo import UpdateOne

from worker.core.clock import now
from worker.core.documents import Status, SyncState
from worker.core.ids import candidate_ids
from worker.core.records import RecordKey
from worker.database.backlog import OWNER
from worker.database.batch_store import LoadedDocument
from worker.database.leases import Update, unchanged_since
from worker.database.mongo import RawDocument, bulk_write, mongo_errors, stream
from worker.database.state import ResetMode
from worker.database.store import GUEST_USERS, DocumentStore, projection, state_changes
from worker.media import MediaType
from worker.pds.repo_snapshot import StoredRecord

_PAGE = 1000
_REMOVED = Status.REMOVED.value
_TEXT = {"$type": "string"}
_NO_STATUS = {"$nin": [status.value for status in Status]}
_HAS_RECORD: RawDocument = {
    "atproto.status": {"$ne": _REMOVED},
    "$or": [
        {"atproto.uri": _TEXT},
        {"atproto.cid": _TEXT},
        {"atproto.status": {"$in": [Status.SYNCED.value, Status.PARTIAL.value]}},
        # From an older program; a claim of a batch saves `attemptedAt` with the key.
        {"atproto.rkey": _TEXT, "atproto.status": _NO_STATUS, "atproto.attemptedAt": None},
    ],
}
_NOT_FORGOTTEN: RawDocument = {
    "$nor": [{"atproto.status": _REMOVED, "atproto.reason": "forgotten"}]
}
_KEY = frozenset({"atproto.repo", "atproto.rkey"})
_OF_RUNS = frozenset({"atproto.lease", "atproto.again", "atproto.strays", "atproto.remake"})

Records = Mapping[str, StoredRecord]
Holders = Mapping[str, LoadedDocument]


def _reset_update(mode: ResetMode) -> Update:
    clear = SyncState(status=Status.REMOVED, reason=mode.value, attempted_at=now())
    if mode is ResetMode.FORGOTTEN:
        state = {"status": _REMOVED, "reason": mode.value, "attemptedAt": clear.attempted_at}
        return {"$set": {"atproto": state}}
    changes = state_changes(clear)
    unset = (changes["$unset"].keys() - _KEY) | _OF_RUNS
    return {"$set": changes["$set"], "$unset": dict.fromkeys(sorted(unset), "")}


class StateReset:
    """Finds the documents of records and owners, and resets their states."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def documents_of(self, kind: MediaType, did: str, subject: str, records: Records) -> Holders:
        """Find the documents of `records`, in the repo `did` of `subject`, by rkey.

        A document is found by the rkey in its state. If another program wrote the record or the
        state was lost, a document of `subject` without an rkey is found by the record's `ref`.
        """
        match = {"atproto.rkey": {"$in": list(records)}, "atproto.repo": {"$in": [did, None]}}
        found: dict[str, LoadedDocument] = {}
        for loaded in self._find(kind, match):
            state = loaded.document.state
            if state.rkey and (state.repo == did or loaded.document.owner == subject):
                if state.repo is None and state.rkey in found:
                    continue  # the state of another document has this rkey and the repo
                found[state.rkey] = loaded
        unclaimed = {rkey: record for rkey, record in records.items() if rkey not in found}
        return {**self._find_named(kind, subject, unclaimed), **found}

    def _find_named(self, kind: MediaType, subject: str, records: Records) -> Holders:
        rkeys: dict[str, str] = {}
        for rkey, record in records.items():
            if record.ref:
                rkeys.setdefault(record.ref, rkey)  # the oldest of several
        ids = [each for ref in rkeys for each in candidate_ids(ref)]
        return {
            rkeys[str(loaded.id)]: loaded
            for loaded in (self._find(kind, {"_id": {"$in": ids}}) if ids else ())
            if loaded.document.owner == subject and loaded.document.state.rkey is None
        }

    def documents_of_owner(
        self, kind: MediaType, subject: str, mode: ResetMode
    ) -> Iterator[Sequence[LoadedDocument]]:
        """Yield pages of a subject's documents with states to reset in this mode."""
        match = _HAS_RECORD if mode is ResetMode.WIPED else _NOT_FORGOTTEN
        match = self._of(subject) | match
        with mongo_errors():
            found = self._store.collection(kind).find(match, projection(kind))
            rows = stream(partial(found.hint(OWNER).batch_size, _PAGE))
            while page := [self._load(kind, raw) for raw in islice(rows, _PAGE)]:
                yield page

    def has_documents(self, kind: MediaType, subject: str) -> bool:
        """Return whether a subject owns documents, whatever their states."""
        with mongo_errors():
            found = self._store.collection(kind).find(self._of(subject), {"_id": 1})
            return any(found.hint(OWNER).limit(1))

    def repos_of_owner(self, kind: MediaType, subject: str) -> set[str]:
        """Return the DIDs in the states of a subject's documents."""
        stages: list[RawDocument] = [
            {"$match": self._of(subject)},
            {"$group": {"_id": "$atproto.repo"}},
        ]
        with mongo_errors():
            aggregate = self._store.collection(kind).aggregate
            found = stream(partial(aggregate, stages, hint=dict(OWNER)))
            return {raw["_id"] for raw in found if isinstance(raw["_id"], str)}

    def reset(self, kind: MediaType, page: Sequence[LoadedDocument], mode: ResetMode) -> int:
        """Reset documents that are unchanged since they were read; return their number.

        Documents that cannot be saved are skipped.
        """
        if not page:
            return 0
        update = _reset_update(mode)
        writes = [UpdateOne(_match_untouched(loaded), update) for loaded in page]
        with mongo_errors():
            return bulk_write(self._store.collection(kind), writes)

    def not_reset(
        self, kind: MediaType, page: Sequence[LoadedDocument], mode: ResetMode
    ) -> list[LoadedDocument]:
        """Reload the documents; return those with a state that is not reset."""
        ids = [loaded.id for loaded in page]
        found = self._find(kind, {"_id": {"$in": ids}}) if ids else ()
        return [loaded for loaded in found if not mode.is_done(loaded.document.state)]

    def mark_for_resync(self, kind: MediaType, loaded: LoadedDocument, key: RecordKey) -> None:
        """Save a stray write, so that the current run or the sweep syncs the document."""
        self._store.add_stray_write(kind, loaded.document, key.uri)

    def _find(self, kind: MediaType, match: RawDocument) -> Iterator[LoadedDocument]:
        with mongo_errors():
            for raw in self._store.collection(kind).find(match, projection(kind)):
                yield self._load(kind, raw)

    def _load(self, kind: MediaType, raw: RawDocument) -> LoadedDocument:
        return LoadedDocument(raw, self._store.parse(kind, raw))

    def _of(self, subject: str) -> RawDocument:
        if subject == self._store.guest_subject:
            return {"user": {"$in": [*GUEST_USERS, subject]}}
        return {"user": subject}


def _match_untouched(loaded: LoadedDocument) -> RawDocument:
    """Build a query that matches a document without a later claim or stray write."""
    state = loaded.raw.get("atproto")
    strays = state.get("strays") if isinstance(state, dict) else None
    return {**unchanged_since(loaded.raw), "atproto.strays": {"$eq": strays}}
