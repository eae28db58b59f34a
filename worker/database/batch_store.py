"""Claiming and finishing many documents with a call each: the store's half for batches.

A claim reserves the record's key in the same write, so that identity is still before effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from pymongo import UpdateMany
from pymongo.errors import BulkWriteError

from worker.core.documents import DocumentId, Lease, MediaDocument, SyncState
from worker.core.ids import InvalidIdError, parse_id
from worker.database.leases import Update, claim_update, held_by, state_after_claim, unchanged_since
from worker.database.mongo import DUPLICATE_KEY, TOO_LARGE, RawDocument, mongo_errors
from worker.database.store import DocumentStore, Finish, projection, state_changes
from worker.media import MediaType

_MAX_TEXT = 1 << 20  # characters; a record has one at most
_LOOKED_AT = ("atproto.again", "atproto.attemptedAt")


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """A document as it was read, before anyone has claimed it."""

    raw: RawDocument
    document: MediaDocument

    @property
    def id(self) -> DocumentId:
        """Return the document's `_id`."""
        return self.document.ref.id

    @property
    def is_claimable(self) -> bool:
        """Tell whether a claim can be written there: `atproto: null` cannot hold fields."""
        return isinstance(self.raw.get("atproto", {}), dict)


@dataclass(frozen=True, slots=True)
class ReservedKey:
    """The key that a claim reserves: a repo's DID and an rkey."""

    repo: str
    rkey: str


class BatchStore:
    """Reads, claims and finishes the documents of a batch.

    Writes are sent as if each could match many, which the driver does not repeat by itself: it
    would have MongoDB note each one, and a batch that is carried out again does no harm.
    """

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def read(self, kind: MediaType, ids: Sequence[DocumentId]) -> list[LoadedDocument | None]:
        """Return the documents of these ids, in their order; None where there is none.

        Nor can there be one for an id that is none; and what is far too large for a record is
        left out, because a batch of such would not fit into memory.
        """
        candidates = [_parse_ids(raw) for raw in ids]
        every = [candidate for candidates_of_one in candidates for candidate in candidates_of_one]
        found = self._find(kind, every, projection(kind))
        picked = (
            next((found[each] for each in candidates_of_one if each in found), None)
            for candidates_of_one in candidates
        )
        return [
            LoadedDocument(raw, self._store.parse(kind, raw)) if raw else None for raw in picked
        ]

    def claim(
        self,
        kind: MediaType,
        wanted: Sequence[tuple[LoadedDocument, ReservedKey | None]],
        lease: Lease,
    ) -> list[MediaDocument | None]:
        """Claim documents, each with the key to reserve; None where another run was faster.

        None as well where another document holds the key, or where a claim has no room.
        """
        states = [
            state_after_claim(loaded.document, lease, reserved.repo, reserved.rkey)
            if reserved
            else state_after_claim(loaded.document, lease)
            for loaded, reserved in wanted
        ]
        dumped = asdict(lease)
        writes = [
            UpdateMany(unchanged_since(loaded.raw), _claim_update(state, dumped))
            for (loaded, _), state in zip(wanted, states, strict=True)
        ]
        matched = self._write(kind, writes)
        documents = [
            replace(loaded.document, state=state)
            for (loaded, _), state in zip(wanted, states, strict=True)
        ]
        if matched == len(writes):
            return list(documents)
        mine = self._find_held(kind, documents, lease)
        return [document if document.ref.id in mine else None for document in documents]

    def finish(
        self, kind: MediaType, ended: Sequence[tuple[MediaDocument, SyncState]]
    ) -> list[Finish]:
        """Write final states, give the documents back, and tell what is there now.

        What was asked of a document meanwhile (`again`) stays on it, and counts as a change.
        """
        writes = [UpdateMany(held_by(document), _finish_update(state)) for document, state in ended]
        matched = self._write(kind, writes)
        fields = {**projection(kind), **dict.fromkeys(_LOOKED_AT, 1)}
        del fields["atproto"]
        found = self._find(kind, [document.ref.id for document, _ in ended], fields)
        is_sure = matched == len(writes)
        return [
            _finish_of(document, found.get(document.ref.id), is_sure=is_sure)
            for document, _ in ended
        ]

    def _write(self, kind: MediaType, writes: Sequence[UpdateMany]) -> int:
        """Carry out writes in any order; return how many found their document."""
        if not writes:
            return 0
        with mongo_errors():
            try:
                done = self._store.collection(kind).bulk_write(list(writes), ordered=False)
            except BulkWriteError as error:
                codes = {fault["code"] for fault in error.details["writeErrors"]}
                if codes - {DUPLICATE_KEY} - TOO_LARGE:
                    raise
                return int(error.details["nMatched"])
        return done.matched_count

    def _find(
        self, kind: MediaType, ids: Sequence[DocumentId], fields: Mapping[str, int]
    ) -> dict[object, RawDocument]:
        with mongo_errors():
            found = self._store.collection(kind).find({"_id": {"$in": ids}}, fields)
            every = found.batch_size(len(ids) + 1)
            return {raw["_id"]: raw for raw in every if not _is_huge(raw)}

    def _find_held(
        self, kind: MediaType, documents: Sequence[MediaDocument], lease: Lease
    ) -> set[object]:
        match: RawDocument = {"_id": {"$in": [document.ref.id for document in documents]}}
        match |= {"atproto.lease.token": lease.token}
        with mongo_errors():
            return {raw["_id"] for raw in self._store.collection(kind).find(match, {"_id": 1})}


def _is_huge(raw: RawDocument) -> bool:
    texts = (value for value in raw.values() if isinstance(value, str | bytes))
    return sum(map(len, texts)) > _MAX_TEXT


def _finish_of(before: MediaDocument, raw: RawDocument | None, *, is_sure: bool) -> Finish:
    """Return how a run ended; with `is_sure` no other run can have taken the document over."""
    if raw is None:
        return Finish.VANISHED
    read = raw.pop("atproto", None)
    state = read if isinstance(read, dict) else {}
    if not is_sure and state.get("attemptedAt") != before.state.attempted_at:
        return Finish.SUPERSEDED
    changed = state.get("again") is True or not before.fields.equal(raw)
    return Finish.CHANGED if changed else Finish.SETTLED


def _parse_ids(raw: DocumentId) -> tuple[DocumentId, ...]:
    try:
        return parse_id(raw)
    except InvalidIdError:
        return ()


def _claim_update(state: SyncState, lease: Mapping[str, object]) -> Update:
    """Return the changes of a claim: where the record will be, and its lease.

    The status stays what it was, because three indexes would have to follow it for a moment.
    """
    update = claim_update(state, lease)
    reserved = {"atproto.repo": state.repo, "atproto.rkey": state.rkey}
    update["$set"] |= {name: value for name, value in reserved.items() if value is not None}
    del update["$set"]["atproto.status"]
    return update


def _finish_update(state: SyncState) -> Update:
    update = state_changes(state)
    update["$unset"] |= {"atproto.lease": ""}
    return update
