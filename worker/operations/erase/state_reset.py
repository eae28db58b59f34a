"""Clearing states: documents whose records were removed in bulk say so. The store's half of it.

A state is cleared only while it is as it was read before its record was known to be gone: no run
has claimed the document since, and none has noted a stray on it. `attemptedAt` moves on with it,
so that a run which has read the state before cannot claim the document by what it read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice

from pymongo import UpdateOne

from worker.core.clock import now
from worker.core.documents import DocumentId, Status, SyncState
from worker.core.ids import InvalidIdError, parse_id
from worker.core.records import RecordKey
from worker.database.backlog import OWNER
from worker.database.batch_store import LoadedDocument
from worker.database.leases import Update, unchanged_since
from worker.database.mongo import RawDocument, mongo_errors
from worker.database.state import ResetMode
from worker.database.store import DocumentStore, projection, state_changes
from worker.media import MediaType
from worker.pds.repo_snapshot import StoredRecord

_PAGE = 1000
_REMOVED = Status.REMOVED.value
_TEXT = {"$type": "string"}
_UNKNOWN = {"$nin": [status.value for status in Status]}
_CLAIMS_A_RECORD: RawDocument = {
    "atproto.status": {"$ne": _REMOVED},
    "$or": [
        {"atproto.uri": _TEXT},
        {"atproto.cid": _TEXT},
        {"atproto.status": {"$in": [Status.SYNCED.value, Status.PARTIAL.value]}},
        {"atproto.rkey": _TEXT, "atproto.status": _UNKNOWN},  # as older programs left it
    ],
}
_SAYS_ANYTHING: RawDocument = {
    "$nor": [{"atproto.status": _REMOVED, "atproto.reason": "forgotten"}]
}
_KEY = frozenset({"atproto.repo", "atproto.rkey"})
_BY_RUNS = frozenset({"atproto.lease", "atproto.again", "atproto.strays"})


def documents_to_reset(mode: ResetMode) -> RawDocument:
    """Match the documents of an owner to look at: those that claim a record, or all."""
    return _CLAIMS_A_RECORD if mode is ResetMode.WIPED else _SAYS_ANYTHING


def reset_update(mode: ResetMode) -> Update:
    """Return the changes that reset a state."""
    clear = SyncState(status=Status.REMOVED, reason=mode.value, attempted_at=now())
    if mode is ResetMode.FORGOTTEN:
        said = {"status": _REMOVED, "reason": mode.value, "attemptedAt": clear.attempted_at}
        return {"$set": {"atproto": said}}
    changes = state_changes(clear)
    unset = (changes["$unset"].keys() - _KEY) | _BY_RUNS
    return {"$set": changes["$set"], "$unset": dict.fromkeys(sorted(unset), "")}


class StateReset:
    """Finds the documents of records and owners, and clears their states."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def documents_of(
        self, kind: MediaType, did: str, subject: str, records: Mapping[str, StoredRecord]
    ) -> dict[str, LoadedDocument]:
        """Return, by rkey, the documents whose records these are in the repo `did` of `subject`.

        A document says so by its state. One of the subject's that names no key at all is meant
        by the record's `ref`: another program wrote that record, or the state was lost.
        """
        match = {"atproto.rkey": {"$in": list(records)}, "atproto.repo": {"$in": [did, None]}}
        found: dict[str, LoadedDocument] = {}
        for loaded in self._find(kind, match):
            state = loaded.document.state
            if state.rkey and (state.repo == did or loaded.document.owner == subject):
                if state.repo is None and state.rkey in found:
                    continue  # two claim it, and the other one does so by name
                found[state.rkey] = loaded
        return {**self._find_named(kind, subject, records, found), **found}

    def _find_named(
        self,
        kind: MediaType,
        subject: str,
        records: Mapping[str, StoredRecord],
        found: Mapping[str, LoadedDocument],
    ) -> dict[str, LoadedDocument]:
        rkeys: dict[str, str] = {}
        for rkey, record in records.items():
            if record.ref and rkey not in found:
                rkeys.setdefault(record.ref, rkey)  # of several the oldest
        ids = [loaded for ref in rkeys for loaded in _ids(ref)]
        return {
            rkeys[str(loaded.id)]: loaded
            for loaded in (self._find(kind, {"_id": {"$in": ids}}) if ids else ())
            if loaded.document.owner == subject and loaded.document.state.rkey is None
        }

    def documents_of_owner(
        self, kind: MediaType, subject: str, mode: ResetMode
    ) -> Iterator[Sequence[LoadedDocument]]:
        """Go through the documents of a subject that are to be cleared, a page at a time."""
        match = self._of(subject) | documents_to_reset(mode)
        with mongo_errors():
            found = self._store.collection(kind).find(match, projection(kind))
            cursor = found.hint(OWNER).batch_size(_PAGE)
            while page := [self._candidate(kind, raw) for raw in islice(cursor, _PAGE)]:
                yield page

    def reset(
        self, kind: MediaType, loaded_documents: Sequence[LoadedDocument], mode: ResetMode
    ) -> int:
        """Clear the states of documents that are as they were read; return how many were."""
        if not loaded_documents:
            return 0
        update = reset_update(mode)
        writes = [UpdateOne(_match_untouched(loaded), update) for loaded in loaded_documents]
        with mongo_errors():
            return self._store.collection(kind).bulk_write(writes, ordered=False).matched_count

    def not_reset(
        self, kind: MediaType, loaded_documents: Sequence[LoadedDocument], mode: ResetMode
    ) -> list[LoadedDocument]:
        """Return, as they are now, those of the documents that are not clear."""
        ids = [loaded.id for loaded in loaded_documents]
        found = self._find(kind, {"_id": {"$in": ids}}) if ids else ()
        return [loaded for loaded in found if not mode.is_done(loaded.document.state)]

    def mark_for_resync(self, kind: MediaType, loaded: LoadedDocument, key: RecordKey) -> None:
        """Have a document synced again, its record in doubt: by the run that holds it, or soon."""
        self._store.add_stray_write(kind, loaded.document, key.uri)

    def _find(self, kind: MediaType, match: RawDocument) -> Iterator[LoadedDocument]:
        with mongo_errors():
            for raw in self._store.collection(kind).find(match, projection(kind)):
                yield self._candidate(kind, raw)

    def _candidate(self, kind: MediaType, raw: RawDocument) -> LoadedDocument:
        return LoadedDocument(raw, self._store.parse(kind, raw))

    def _of(self, subject: str) -> RawDocument:
        if subject == self._store.guest_subject:
            return {"user": {"$in": [None, "", subject]}}
        return {"user": subject}


def _match_untouched(loaded: LoadedDocument) -> RawDocument:
    """Match a document that no run has claimed, or confessed a stray on, since it was read."""
    state = loaded.raw.get("atproto")
    strays = state.get("strays") if isinstance(state, dict) else None
    return {**unchanged_since(loaded.raw), "atproto.strays": {"$eq": strays}}


def _ids(ref: str) -> Iterator[DocumentId]:
    with suppress(InvalidIdError):
        yield from parse_id(ref)
