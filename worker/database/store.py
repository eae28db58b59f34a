"""Read and write documents and their state, `atproto.*`, in MongoDB.

A run claims a document with a lease, saves the result of each step, and releases the lease. The
filters of its writes contain the lease's token, so that it cannot overwrite a newer run's results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Self, cast

from pymongo import DESCENDING, MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from worker.core.clock import now
from worker.core.documents import (
    DocumentId,
    Failure,
    ItemRef,
    Lease,
    MediaDocument,
    OwnedItem,
    Status,
    SyncState,
)
from worker.core.errors import MediaError, TransientError
from worker.core.fields import FieldError, Fields, is_text, wrong_type
from worker.core.ids import as_document_id, candidate_ids
from worker.database.leases import (
    MALFORMED_STATE,
    Update,
    claim_update,
    held_by,
    is_held,
    new_lease,
    not_before,
    not_held,
    state_after_claim,
    unchanged_since,
)
from worker.database.mongo import RawDocument, StateNotSavedError, mongo_errors
from worker.database.state import (
    dump_failure,
    dump_lease,
    dump_state,
    mapping,
    parse_state,
)
from worker.media import MediaType

_MAX_TRIES = 100
# Without `attemptedAt`, a concurrent claim reads the document again.
_OF_RECORD = tuple(
    f"atproto.{name}"
    for name in ("repo", "rkey", "uri", "cid", "adopted", "publishedAt", "attemptedAt")
)
_OF_LAST_RUN = ("atproto.lease", "atproto.retryAt", "atproto.fingerprint", "atproto.adopted")
GUEST_USERS = (None, "")
"""The values of `user` in a guest's document."""


class LeaseLostError(MediaError):
    """Another run has claimed the document. This run must stop writing."""

    step, code = "store", "lease_lost"


class ContendedError(TransientError):
    """Claiming failed repeatedly, because other runs claimed the document first."""

    step, code = "store", "contended"


class RecordKeyTakenError(MediaError):
    """Another document has this rkey in this repo."""

    step, code = "store", "identity_taken"


@dataclass(frozen=True, slots=True)
class Busy:
    """The document cannot be claimed before `until`. If `is_held`, a run holds it."""

    until: datetime
    is_held: bool


class Finish(Enum):
    """The result of finishing a run."""

    SETTLED = "the state is written and the document is unchanged"
    CHANGED = "the state is written and the document has changed since"
    SUPERSEDED = "another run has taken over"
    VANISHED = "the document no longer exists"


ChooseKey = Callable[[MediaDocument], tuple[str | None, str | None]]


def keep_key(_document: MediaDocument) -> tuple[None, None]:
    """Reserve no record key with a claim."""
    return None, None


def invalid_id_error(raw_id: object) -> FieldError:
    """Build the error of a document whose `_id` cannot be sent in a message."""
    wanted = "an ObjectId, text of 1 to 512 characters or a whole number"
    return wrong_type("_id", wanted, raw_id)


class DocumentStore:
    """Reads, claims and updates the documents of all media types."""

    def __init__(self, database: Database[RawDocument], guest_subject: str) -> None:
        self._database = database
        self._collections: dict[str, Collection[RawDocument]] = {}
        self.guest_subject = guest_subject

    def in_majority(self) -> Self:
        """Return the same store as a majority of the members has it.

        A deletion or a change that only one member has may be rolled back, and a member that has
        just become primary may lack documents. A record is removed only if this store agrees.
        """
        concern = ReadConcern("majority")
        return type(self)(self._database.with_options(read_concern=concern), self.guest_subject)

    @property
    def client(self) -> MongoClient[RawDocument]:
        return self._database.client

    def collection(self, kind: MediaType) -> Collection[RawDocument]:
        name = kind.collection
        if name not in self._collections:  # creating one takes as long as decoding a document
            self._collections[name] = self._database[name]
        return self._collections[name]

    def find(self, kind: MediaType, ids: Sequence[DocumentId]) -> MediaDocument | None:
        """Return the document with the first of `ids` that exists, or None."""
        raw = self._find(kind, ids)
        return self.parse(kind, raw) if raw else None

    def _find(self, kind: MediaType, ids: Sequence[DocumentId]) -> RawDocument | None:
        with mongo_errors():
            found = list(self.collection(kind).find({"_id": {"$in": ids}}, projection(kind)))
        # MongoDB returns numbers, texts and ObjectIds in that order.
        rank: dict[object, int] = {candidate: number for number, candidate in enumerate(ids)}
        return min(found, key=lambda raw: rank.get(raw["_id"], len(ids)), default=None)

    def find_all(self, kind: MediaType, ids: Sequence[object]) -> list[MediaDocument]:
        """Return the existing documents with these ids, in any order."""
        with mongo_errors():
            found = self.collection(kind).find({"_id": {"$in": ids}}, projection(kind))
            return [self.parse(kind, raw) for raw in found]

    def find_owners(self, kind: MediaType, ids: Sequence[DocumentId]) -> Iterator[OwnedItem]:
        """Yield the references and owners of the existing documents with these ids."""
        return self._find_owned(kind, {"_id": {"$in": ids}})

    def find_owners_of_key(self, kind: MediaType, rkey: str) -> Iterator[OwnedItem]:
        """Yield the references and owners of the documents with this rkey, in any repo."""
        return self._find_owned(kind, {"atproto.rkey": rkey})

    def _find_owned(self, kind: MediaType, match: RawDocument) -> Iterator[OwnedItem]:
        with mongo_errors():
            for raw in self.collection(kind).find(match, {"user": 1}):
                yield self.to_owned_item(kind, raw)

    def to_owned_item(self, kind: MediaType, raw: RawDocument) -> OwnedItem:
        """Build an OwnedItem from a raw document with the fields `_id` and `user`."""
        ref = ItemRef(kind.name, cast("DocumentId", as_document_id(raw["_id"])))
        return OwnedItem(ref, str(raw.get("user") or self.guest_subject))

    def scan(self, kind: MediaType, after: DocumentId | None, limit: int) -> Iterator[RawDocument]:
        """Yield up to `limit` raw documents after an id."""
        with mongo_errors():
            found = self.collection(kind).find({"_id": {"$ne": after}}, projection(kind))
            if after is not None:
                # A bound on the index, because `$gt` only matches ids of the same type.
                found.hint("_id_").min([("_id", after)])  # type: ignore[list-item]
            yield from found.sort("_id").limit(limit)

    def find_by_record(self, kind: MediaType, repo: str, rkey: str) -> MediaDocument | None:
        """Return the document with this record key, or None.

        States of older programs have no repo; a state with the repo is preferred.
        """
        match = {"atproto.rkey": rkey, "atproto.repo": {"$in": [repo, None]}}
        with_repo_first = [("atproto.repo", DESCENDING)]
        with mongo_errors():
            raw = self.collection(kind).find_one(match, projection(kind), sort=with_repo_first)
        return self.parse(kind, raw) if raw else None

    def release_key(self, kind: MediaType, repo: str, rkey: str, item: DocumentId) -> None:
        """Take a record key from the states of other documents than `item`.

        The record at the key names `item`. A state that a run holds is not changed.
        """
        match: RawDocument = {"atproto.repo": repo, "atproto.rkey": rkey, "_id": {"$ne": item}}
        update: Update = {
            "$unset": dict.fromkeys(_OF_RECORD, ""),
            "$set": {"atproto.status": Status.PENDING.value, "atproto.retryAt": now()},
        }
        with mongo_errors():
            self.collection(kind).update_many(match | not_held(), update)

    def find_own(
        self, kind: MediaType, owner: str, rkey: str, ref: str | None
    ) -> MediaDocument | None:
        """Return the document of `owner` with the id `ref`, or with this rkey in any repo."""
        ids = candidate_ids(ref)
        match = {"$or": [{"_id": {"$in": ids}}, {"atproto.rkey": rkey}]}
        with mongo_errors():
            found = list(self.collection(kind).find(match, projection(kind)))
        own = [each for raw in found if (each := self.parse(kind, raw)).owner == owner]
        return min(own, key=lambda each: each.ref.id not in ids, default=None)

    def claim(
        self,
        kind: MediaType,
        ids: Sequence[DocumentId],
        *,
        holder: str,
        lease: float,
        only_if_due: bool = False,
        choose_key: ChooseKey = keep_key,
    ) -> MediaDocument | Busy | None:
        """Claim a document for `lease` seconds; return None if it does not exist.

        Returns Busy if another run holds it, or if the PDS has asked to wait. `only_if_due` also
        returns Busy before `retryAt`. `holder` contains the id of the message: if a message is
        delivered again, its earlier run has died, and its lease is replaced. `choose_key` returns
        the repo and the record key to reserve with the claim, or None; a key that another document
        has is not reserved. Raises ContendedError.
        """
        for _ in range(_MAX_TRIES):
            raw = self._find(kind, ids)
            if raw is None:
                return None
            document = self.parse(kind, raw)
            held = document.state.lease
            if held and is_held(document, holder=holder):
                if self._notify_holder(kind, raw):
                    return Busy(held.until, is_held=True)
            elif waiting := not_before(document, only_if_due=only_if_due):
                return Busy(waiting, is_held=False)
            elif claimed := self._take(kind, raw, document, new_lease(holder, lease), choose_key):
                return claimed
        raise ContendedError(f"{kind.name} {ids[0]}: too many runs claim it at once")

    def _notify_holder(self, kind: MediaType, raw: RawDocument) -> bool:
        again = {"$set": {"atproto.again": True}}
        with mongo_errors():
            return self.collection(kind).update_one(unchanged_since(raw), again).matched_count == 1

    def _take(
        self,
        kind: MediaType,
        raw: RawDocument,
        document: MediaDocument,
        lease: Lease,
        choose_key: ChooseKey,
    ) -> MediaDocument | None:
        """Save a claim; return the document with its new state, None if another run was faster.

        Fields that were edited since they were read are noticed at the end of the run.
        """
        state = state_after_claim(document, lease, *choose_key(document))
        update = claim_update(state, dump_lease(lease))
        try:
            with mongo_errors():
                if not isinstance(raw.get("atproto", {}), dict):
                    self.clear_malformed(kind, [raw["_id"]])
                taken = self.collection(kind).update_one(unchanged_since(raw), update)
        except DuplicateKeyError:
            if choose_key is keep_key:
                raise
            return self._take(kind, raw, document, lease, keep_key)
        return document._replace(state=state) if taken.matched_count else None

    def clear_malformed(self, kind: MediaType, ids: Sequence[object]) -> None:
        """Unset `atproto` where it is not an object; raises the driver's errors."""
        match = {"_id": {"$in": ids}, **MALFORMED_STATE}
        self.collection(kind).update_many(match, {"$unset": {"atproto": ""}})

    def save(self, kind: MediaType, document: MediaDocument, state: SyncState) -> MediaDocument:
        """Save the state during a run, and return the document with it.

        Raises LeaseLostError, or RecordKeyTakenError if another document has the record key.
        """
        update = state_changes(state)
        try:
            with mongo_errors():
                saved = self.collection(kind).update_one(held_by(document), update)
        except DuplicateKeyError as error:
            raise RecordKeyTakenError(f"{state.repo} already holds {state.rkey}") from error
        if saved.matched_count == 0:
            raise LeaseLostError(f"{document.ref}: another run has taken over")
        return document._replace(state=state._replace(lease=document.state.lease))

    def finish(self, kind: MediaType, document: MediaDocument, state: SyncState) -> Finish:
        """Save a run's final state and release its lease; return the result."""
        update = finish_changes(document, state)
        update["$unset"] |= {"atproto.again": ""}
        if document.state.strays:
            update["$pull"] = {"atproto.strays": {"$in": list(document.state.strays)}}
        fields = {**dict.fromkeys(kind.read_fields, 1), "atproto.again": 1}
        with mongo_errors():
            before = self.collection(kind).find_one_and_update(
                held_by(document), update, projection=fields
            )
        if before is None:
            is_gone = self._find(kind, [document.ref.id]) is None
            return Finish.VANISHED if is_gone else Finish.SUPERSEDED
        again = mapping(before.pop("atproto", None)).get("again") is True
        # A later change is not of this run: its message finds the document free.
        changed = again or Fields(before).fingerprint != document.fingerprint
        return Finish.CHANGED if changed else Finish.SETTLED

    def mark_failed(
        self, kind: MediaType, raw_id: object, failure: Failure, token: str | None = None
    ) -> None:
        """Mark an item as failed if it cannot be claimed or its run cannot finish.

        `token` is the token of the current lease, if any. The update is small, because the
        document may be almost full. Raises StateNotSavedError.
        """
        match: RawDocument = {"_id": {"$eq": raw_id}, "atproto.lease.token": token}
        update: Update = error_update(Status.FAILED, failure)
        update["$unset"] = dict.fromkeys(_OF_LAST_RUN, "")
        with mongo_errors():
            self.clear_malformed(kind, [raw_id])
            self.collection(kind).update_one(match, update)

    def mark_invalid_id(self, kind: MediaType, raw_id: object) -> None:
        """Mark an item as failed because its `_id` cannot be sent in a message."""
        with suppress(StateNotSavedError):
            self.mark_failed(kind, raw_id, Failure.of(invalid_id_error(raw_id), now()))

    def add_stray_write(self, kind: MediaType, document: MediaDocument, uri: str) -> None:
        """Save the URI of a record that a run may have written after it lost its lease.

        The next run deletes or rewrites the record at that URI.
        """
        # A pipeline, because `strays` and the state may have any type.
        is_list = {"$isArray": "$atproto.strays"}
        strays = {"$cond": [is_list, "$atproto.strays", []]}
        changes = {
            "atproto.strays": {"$setUnion": [strays, [{"$literal": uri}]]},
            "atproto.again": True,
            "atproto.retryAt": now(),
        }
        with mongo_errors():
            self.collection(kind).update_one({"_id": document.ref.id}, [{"$set": changes}])

    def parse(self, kind: MediaType, raw: RawDocument) -> MediaDocument:
        owner = self.guest_subject if raw.get("user") in GUEST_USERS else raw["user"]
        content = raw.copy()
        content.pop("atproto", None)
        return MediaDocument(
            ref=ItemRef(kind.name, _id_of(raw)),
            owner=str(owner),
            is_guest=owner == self.guest_subject,
            fault=None if is_text(owner) else wrong_type("user", "text", owner),
            hidden=kind.hidden_reason(raw),
            fields=Fields(content),
            state=parse_state(raw.get("atproto")),
        )


def _id_of(raw: RawDocument) -> DocumentId:
    """Return a document's `_id`, as text if its type is not supported."""
    known = as_document_id(raw["_id"])
    return ascii(raw["_id"])[:100] if known is None else known


def projection(kind: MediaType) -> dict[str, int]:
    """Build a projection of the fields that the engine reads."""
    return dict.fromkeys((*kind.read_fields, "atproto"), 1)


def state_changes(state: SyncState) -> Update:
    """Build the update that sets a document's state, except lease, strays and `remake`."""
    return field_changes(dump_state(state))


def finish_changes(document: MediaDocument, state: SyncState) -> Update:
    """Build the update that saves a run's final state and releases its lease.

    `remake` is unset only by a run that has read it: it may be set while a run holds the document.
    """
    update = state_changes(state)
    done = {"atproto.remake": ""} if document.state.remake and not state.remake else {}
    update["$unset"] |= {"atproto.lease": "", **done}
    return update


def error_update(status: Status, failure: Failure) -> Update:
    """Build the update that saves an error on a document whose state is not known."""
    return {
        "$set": {"atproto.status": status.value, "atproto.error": dump_failure(failure)},
        "$min": {"atproto.failingSince": failure.at},
    }


def field_changes(values: Mapping[str, object]) -> Update:
    """Build the update that sets fields of a state, or unsets them if None."""
    return {
        "$set": {f"atproto.{name}": value for name, value in values.items() if value is not None},
        "$unset": {f"atproto.{name}": "" for name, value in values.items() if value is None},
    }
