"""Documents and their state in MongoDB: the one writer of `atproto.*`.

A run claims a document with a lease, saves what it achieves on the way, and finishes. Every
write is conditional on the lease's token, so a slow old run never overwrites a newer one's
result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import Enum
from typing import cast

from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

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
from worker.core.fields import Fields, is_text, wrong_type
from worker.core.ids import as_document_id
from worker.database.leases import (
    MALFORMED_STATE,
    Update,
    claim_update,
    held_by,
    is_held,
    new_lease,
    not_before,
    state_after_claim,
    unchanged_since,
)
from worker.database.mongo import DocumentFullError, RawDocument, mongo_errors
from worker.database.state import dump_state, parse_state
from worker.media import MediaType

_MAX_TRIES = 100
_MAKE_ROOM = {"$unset": {"atproto": ""}}
GUEST_USERS = (None, "")
"""What `user` says of an item of a guest."""


class LeaseLostError(MediaError):
    """Another run took this document over: this one must not write any more."""

    step = "store"
    code = "lease_lost"


class ContendedError(TransientError):
    """The document changed hands each time that this run had read it."""

    step = "store"
    code = "contended"


class RecordKeyTakenError(MediaError):
    """Another document holds this rkey in this repo."""

    step = "store"
    code = "identity_taken"


@dataclass(frozen=True, slots=True)
class Busy:
    """The document cannot be worked on before `until`.

    Either another run holds it, and was told to look again when it is done (`is_held`), or its PDS
    asked us to wait.
    """

    until: datetime
    is_held: bool


class Finish(Enum):
    """How a run ended: settled, or what has to follow."""

    SETTLED = "the state is written and the document is as it was"
    CHANGED = "the state is written and the document has changed since"
    SUPERSEDED = "another run has taken over"
    VANISHED = "the document is no longer there"


class DocumentStore:
    """The documents of all media types in one database."""

    def __init__(self, database: Database[RawDocument], guest_subject: str) -> None:
        self._database = database
        self.guest_subject = guest_subject

    def collection(self, kind: MediaType) -> Collection[RawDocument]:
        """Return the MongoDB collection of a media type."""
        return self._database[kind.collection]

    def find(self, kind: MediaType, ids: Sequence[DocumentId]) -> MediaDocument | None:
        """Return the document with the first of these ids that there is, as it is now."""
        raw = self._find(kind, ids)
        return self.parse(kind, raw) if raw else None

    def _find(self, kind: MediaType, ids: Sequence[DocumentId]) -> RawDocument | None:
        with mongo_errors():
            found = list(self.collection(kind).find({"_id": {"$in": ids}}, projection(kind)))
        # MongoDB puts numbers before texts before ObjectIds, in whatever order they are asked for.
        rank: dict[object, int] = {candidate: number for number, candidate in enumerate(ids)}
        return min(found, key=lambda raw: rank.get(raw["_id"], len(ids)), default=None)

    def find_all(self, kind: MediaType, ids: Sequence[DocumentId]) -> list[MediaDocument]:
        """Return those documents of these ids that there are, in any order."""
        with mongo_errors():
            found = self.collection(kind).find({"_id": {"$in": ids}}, projection(kind))
            return [self.parse(kind, raw) for raw in found]

    def find_owners(self, kind: MediaType, ids: Sequence[DocumentId]) -> Iterator[OwnedItem]:
        """Go through those documents of these ids that there are, with nothing but their owners."""
        with mongo_errors():
            for raw in self.collection(kind).find({"_id": {"$in": ids}}, {"user": 1}):
                yield self.to_owned_item(kind, raw)

    def to_owned_item(self, kind: MediaType, raw: RawDocument) -> OwnedItem:
        """Return which item of whose a raw document is, of which `user` was asked for."""
        ref = ItemRef(kind.name, cast("DocumentId", as_document_id(raw["_id"])))
        return OwnedItem(ref, str(raw.get("user") or self.guest_subject))

    def scan(
        self, kind: MediaType, after: DocumentId | None, limit: int
    ) -> Iterator[tuple[object, MediaDocument]]:
        """Go through the documents after an id (None: from the first), in the order of ids.

        Each comes with its `_id` as MongoDB has it, to go on after.
        """
        with mongo_errors():
            found = self.collection(kind).find({"_id": {"$ne": after}}, projection(kind))
            if after is not None:
                # A bound on the index, because `$gt` finds ids of the same type only.
                found.hint("_id_").min([("_id", after)])  # type: ignore[list-item]
            for raw in found.sort("_id").limit(limit):
                yield raw["_id"], self.parse(kind, raw)

    def find_by_record(self, kind: MediaType, repo: str, rkey: str) -> MediaDocument | None:
        """Return the document whose record is at this rkey of a repo, or None."""
        match = {"atproto.rkey": rkey, "atproto.repo": {"$in": [repo, None]}}
        with mongo_errors():
            raw = self.collection(kind).find_one(match, projection(kind))
        return self.parse(kind, raw) if raw else None

    def claim(
        self,
        kind: MediaType,
        ids: Sequence[DocumentId],
        *,
        holder: str,
        lease: float,
        only_if_due: bool = False,
    ) -> MediaDocument | Busy | None:
        """Take a document for this run, for `lease` seconds; count the attempt.

        `holder` names the message being served: when the same message is delivered again its
        earlier run is dead, and its lease is taken over. With `only_if_due` an item whose time
        to be tried has not come is left alone. Returns None when there is no such document.
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
            elif claimed := self._take(kind, raw, new_lease(holder, lease)):
                return claimed
        raise ContendedError(f"{kind.name} {ids[0]}: too many runs claim it at once")

    def _notify_holder(self, kind: MediaType, raw: RawDocument) -> bool:
        again = {"$set": {"atproto.again": True}}
        with mongo_errors():
            return self.collection(kind).update_one(unchanged_since(raw), again).matched_count == 1

    def _take(self, kind: MediaType, raw: RawDocument, lease: Lease) -> MediaDocument | None:
        claim = claim_update(state_after_claim(self.parse(kind, raw), lease), asdict(lease))
        with mongo_errors():
            self._make_room(kind, raw)
            taken = self.collection(kind).find_one_and_update(
                unchanged_since(raw),
                claim,
                projection=projection(kind),
                return_document=ReturnDocument.AFTER,
            )
        return self.parse(kind, taken) if taken else None

    def _make_room(self, kind: MediaType, raw: RawDocument) -> None:
        if not isinstance(raw.get("atproto", {}), dict):
            match = {"_id": raw["_id"], **MALFORMED_STATE}
            self.collection(kind).update_one(match, _MAKE_ROOM)

    def save(self, kind: MediaType, document: MediaDocument, state: SyncState) -> MediaDocument:
        """Keep what a run has achieved so far.

        Raises LeaseLostError when another run has taken over, IdentityTakenError when another
        document holds the state's rkey in its repo.
        """
        update = state_changes(state)
        try:
            with mongo_errors():
                saved = self.collection(kind).update_one(held_by(document), update)
        except DuplicateKeyError as error:
            raise RecordKeyTakenError(f"{state.repo} already holds {state.rkey}") from error
        if saved.matched_count == 0:
            raise LeaseLostError(f"{document.ref}: another run has taken over")
        return replace(document, state=replace(state, lease=document.state.lease))

    def finish(self, kind: MediaType, document: MediaDocument, state: SyncState) -> Finish:
        """Write a run's final state and give the document back, unless it was taken over."""
        update = state_changes(state)
        update["$unset"] |= {"atproto.lease": "", "atproto.again": ""}
        if document.state.strays:
            update["$pull"] = {"atproto.strays": {"$in": list(document.state.strays)}}
        with mongo_errors():
            before = self.collection(kind).find_one_and_update(
                held_by(document), update, projection={"atproto.again": 1}
            )
        current = self.find(kind, [document.ref.id])
        if current is None:
            return Finish.VANISHED
        if before is None:
            return Finish.SUPERSEDED
        told = cast("RawDocument", before.get("atproto", {})).get("again") is True
        changed = told or current.fingerprint != document.fingerprint
        return Finish.CHANGED if changed else Finish.SETTLED

    def mark_failed(
        self, kind: MediaType, raw_id: object, failure: Failure, token: str | None = None
    ) -> None:
        """Note why an item is given up that no run can claim, or whose run (`token`) cannot end.

        In few bytes, for a document that is all but full; raises DocumentFullError where even
        they have no room.
        """
        match: RawDocument = {"_id": {"$eq": raw_id}, "atproto.lease.token": token}
        said = {"atproto.status": Status.FAILED.value, "atproto.error": asdict(failure)}
        stale = dict.fromkeys(("atproto.lease", "atproto.retryAt", "atproto.fingerprint"), "")
        with mongo_errors():
            self.collection(kind).update_one(
                {"_id": {"$eq": raw_id}, **MALFORMED_STATE}, _MAKE_ROOM
            )
            self.collection(kind).update_one(match, {"$set": said, "$unset": stale})

    def mark_invalid_id(self, kind: MediaType, raw_id: object) -> None:
        """Give up an item whose `_id` no message can name."""
        wanted = "an ObjectId, a text of 1 to 512 characters or a whole number"
        with suppress(DocumentFullError):
            self.mark_failed(kind, raw_id, Failure.of(wrong_type("_id", wanted, raw_id), now()))

    def add_stray_write(self, kind: MediaType, document: MediaDocument, uri: str) -> None:
        """Note that a record was written to by a run that no longer held the document.

        Whoever holds it now goes again, and settles what is at that URI.
        """
        warn_if_visibility_too_short = {
            "$addToSet": {"atproto.strays": uri},
            "$set": {"atproto.again": True, "atproto.retryAt": now()},
        }
        with mongo_errors():
            self.collection(kind).update_one({"_id": document.ref.id}, warn_if_visibility_too_short)

    def parse(self, kind: MediaType, raw: RawDocument) -> MediaDocument:
        """Turn a raw document into a value."""
        owner = self.guest_subject if raw.get("user") in GUEST_USERS else raw["user"]
        content = raw.copy()
        content.pop("atproto", None)
        return MediaDocument(
            ref=ItemRef(kind.name, _id_of(raw)),
            owner=str(owner),
            is_guest=owner == self.guest_subject,
            fault=None if is_text(owner) else wrong_type("user", "a text", owner),
            takedown_flag=next((flag for flag in kind.takedown_flags if raw.get(flag)), None),
            fields=Fields(content),
            state=parse_state(raw.get("atproto")),
        )


def _id_of(raw: RawDocument) -> DocumentId:
    """Return a document's `_id`; of one that no message can name, which leads nowhere, the text."""
    known = as_document_id(raw["_id"])
    return ascii(raw["_id"])[:100] if known is None else known


def projection(kind: MediaType) -> dict[str, int]:
    """Return what of a document the engine reads."""
    return dict.fromkeys((*kind.fields, *kind.takedown_flags, "user", "atproto"), 1)


def state_changes(state: SyncState) -> Update:
    """Return the changes that make a document's state this one, its lease apart."""
    values = {f"atproto.{name}": value for name, value in dump_state(state).items()}
    return {
        "$set": {name: value for name, value in values.items() if value is not None},
        "$unset": {name: "" for name, value in values.items() if value is None},
    }
