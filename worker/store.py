"""Documents and their state in MongoDB: the one writer of `atproto.*`.

A run claims a document with a lease, saves what it achieves on the way, and finishes. Every
write is conditional on the lease's token, so a slow old run never overwrites a newer one's
result.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import Enum
from typing import cast

import bson
from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from worker.clock import after, now
from worker.documents import DocumentId, ItemRef, Lease, MediaDocument, Status, SyncState
from worker.errors import MediaError
from worker.fields import Fields
from worker.media import MediaType
from worker.mongo import RawDocument, translated
from worker.state import dump_state, parse_state


class LeaseLostError(MediaError):
    """Another run took this document over: this one must not write any more."""

    step = "store"
    code = "lease_lost"


class IdentityTakenError(MediaError):
    """Another document holds this rkey in this repo."""

    step = "store"
    code = "identity_taken"


@dataclass(frozen=True, slots=True)
class NotNow:
    """The document cannot be worked on before `until`.

    Either another run holds it, and was told to look again when it is done (`busy`), or its PDS
    asked us to wait.
    """

    until: datetime
    busy: bool


class Finish(Enum):
    """How a run ended: settled, or what has to follow."""

    SETTLED = "the state is written and the document is as it was"
    CHANGED = "the state is written and the document has changed since"
    SUPERSEDED = "another run has taken over"
    VANISHED = "the document is no longer there"


class Store:
    """The documents of all media types in one database."""

    def __init__(self, database: Database[RawDocument], guest_subject: str) -> None:
        self._database = database
        self._guest = guest_subject

    def collection(self, kind: MediaType) -> Collection[RawDocument]:
        """Return the MongoDB collection of a media type."""
        return self._database[kind.collection]

    def find(self, kind: MediaType, ids: Sequence[DocumentId]) -> MediaDocument | None:
        """Return the document with one of these ids as it is now."""
        with translated():
            raw = self.collection(kind).find_one({"_id": {"$in": list(ids)}}, _projection(kind))
        return self.parse(kind, raw) if raw else None

    def stretch(self, kind: MediaType, match: RawDocument, limit: int) -> Iterator[MediaDocument]:
        """Go through matching documents in the order of their ids."""
        with translated():
            found = self.collection(kind).find(match, _projection(kind)).sort("_id").limit(limit)
            for raw in found:
                yield self.parse(kind, raw)

    def holder_of(self, kind: MediaType, repo: str, rkey: str) -> MediaDocument | None:
        """Return the document whose record is at this rkey of a repo, or None."""
        match = {"atproto.rkey": rkey, "atproto.repo": {"$in": [repo, None]}}
        with translated():
            raw = self.collection(kind).find_one(match, _projection(kind))
        return self.parse(kind, raw) if raw else None

    def claim(
        self, kind: MediaType, ids: Sequence[DocumentId], *, holder: str, lease: float
    ) -> MediaDocument | NotNow | None:
        """Take a document for this run, for `lease` seconds; count the attempt.

        `holder` names the message being served: when the same message is delivered again its
        earlier run is dead, and its lease is taken over. Returns None when there is no such
        document.
        """
        while (document := self.find(kind, ids)) is not None:
            held = document.state.lease
            if held and held.until > now() and held.holder != holder:
                if self._tell_holder(kind, document, held):
                    return NotNow(held.until, busy=True)
                continue
            if waiting := _told_to_wait(document):
                return NotNow(waiting, busy=False)
            if claimed := self._take(kind, document, _new_lease(holder, lease)):
                return claimed
        return None

    def _tell_holder(self, kind: MediaType, document: MediaDocument, held: Lease) -> bool:
        match = {"_id": document.ref.id, "atproto.lease.token": held.token}
        with translated():
            told = self.collection(kind).update_one(match, {"$set": {"atproto.again": True}})
        return told.matched_count == 1

    def _take(self, kind: MediaType, document: MediaDocument, lease: Lease) -> MediaDocument | None:
        state = document.state
        match: RawDocument = {"_id": document.ref.id, "atproto.attemptedAt": state.attempted_at}
        match["atproto.lease.token"] = state.lease.token if state.lease else None
        update: dict[str, dict[str, object]] = {
            "$set": {
                "atproto.lease": asdict(lease),
                "atproto.status": str(state.status or Status.PENDING),
                "atproto.attempts": 1 + (0 if _is_new_content(document) else state.attempts),
                "atproto.lost": _lost(document),
                "atproto.attemptedAt": now(),
                # If this run dies, the sweep finds the document here, whatever its status.
                "atproto.retryAt": lease.until,
                "atproto.fingerprint": document.fingerprint,
            },
            "$unset": {"atproto.again": ""},
        }
        with translated():
            self._make_room(kind, document)
            raw = self.collection(kind).find_one_and_update(
                match,
                update,
                projection=_projection(kind),
                return_document=ReturnDocument.AFTER,
            )
        return self.parse(kind, raw) if raw else None

    def _make_room(self, kind: MediaType, document: MediaDocument) -> None:
        # `atproto: null` and the like, as older programs left it, cannot hold fields.
        if document.state == SyncState():
            stray = {"atproto": {"$exists": True, "$not": {"$type": "object"}}}
            match = {"_id": document.ref.id, **stray}
            self.collection(kind).update_one(match, {"$unset": {"atproto": ""}})

    def save(self, kind: MediaType, document: MediaDocument, state: SyncState) -> MediaDocument:
        """Keep what a run has achieved so far.

        Raises LeaseLostError when another run has taken over, IdentityTakenError when another
        document holds the state's rkey in its repo.
        """
        update = _update(state)
        try:
            with translated():
                saved = self.collection(kind).update_one(_mine(document), update)
        except DuplicateKeyError as error:
            raise IdentityTakenError(f"{state.repo} already holds {state.rkey}") from error
        if saved.matched_count == 0:
            raise LeaseLostError(f"{document.ref}: another run has taken over")
        return replace(document, state=replace(state, lease=document.state.lease))

    def finish(self, kind: MediaType, document: MediaDocument, state: SyncState) -> Finish:
        """Write a run's final state and give the document back, unless it was taken over."""
        update = _update(state)
        update["$unset"] |= {"atproto.lease": "", "atproto.again": ""}
        with translated():
            before = self.collection(kind).find_one_and_update(
                _mine(document), update, projection={"atproto.again": 1}
            )
        current = self.find(kind, [document.ref.id])
        if current is None:
            return Finish.VANISHED
        if before is None:
            return Finish.SUPERSEDED
        told = cast("RawDocument", before.get("atproto", {})).get("again") is True
        changed = told or current.fingerprint != document.fingerprint
        return Finish.CHANGED if changed else Finish.SETTLED

    def parse(self, kind: MediaType, raw: RawDocument) -> MediaDocument:
        """Turn a raw document into a value."""
        ref = ItemRef(kind.name, cast("DocumentId", raw["_id"]))
        owner = raw.get("user") or self._guest
        content = {name: value for name, value in raw.items() if name != "atproto"}
        return MediaDocument(
            ref=ref,
            owner=str(owner),
            is_guest=owner == self._guest,
            gone=next((flag for flag in kind.gone if raw.get(flag)), None),
            fields=Fields(content),
            fingerprint=hashlib.sha256(bson.encode(content)).hexdigest(),
            state=parse_state(raw.get("atproto")),
        )


def _projection(kind: MediaType) -> dict[str, int]:
    return dict.fromkeys((*kind.fields, *kind.gone, "user", "atproto"), 1)


def _told_to_wait(document: MediaDocument) -> datetime | None:
    state = document.state
    waits = state.error is not None and state.error.code == "rate_limited" and not state.lease
    return state.retry_at if waits and state.retry_at and state.retry_at > now() else None


def _new_lease(holder: str, seconds: float) -> Lease:
    return Lease(secrets.token_hex(8), holder, after(seconds))


def _is_new_content(document: MediaDocument) -> bool:
    settled = document.state.error is None
    return settled or document.state.fingerprint != document.fingerprint


def _lost(document: MediaDocument) -> int:
    # A lease that is still there was never given back: that run died at work.
    if document.state.fingerprint != document.fingerprint:
        return 0
    return document.state.lost + (1 if document.state.lease else 0)


def _mine(document: MediaDocument) -> RawDocument:
    lease = document.state.lease
    return {"_id": document.ref.id, "atproto.lease.token": lease.token if lease else ""}


def _update(state: SyncState) -> dict[str, dict[str, object]]:
    values = {f"atproto.{name}": value for name, value in dump_state(state).items()}
    return {
        "$set": {name: value for name, value in values.items() if value is not None},
        "$unset": {name: "" for name, value in values.items() if value is None},
    }
