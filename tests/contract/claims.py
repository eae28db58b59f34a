"""Documents to claim, and the states in which runs leave them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import cast

from bson import ObjectId

from worker.core.clock import now
from worker.core.documents import DocumentId, Failure, MediaDocument, Status, SyncState
from worker.database.mongo import RawDocument
from worker.database.store import DocumentStore
from worker.media import MediaType, media_type

MOOD = media_type("mood")
WHEN = datetime(2024, 2, 29, 23, 59, 59, 123000, UTC)
LEASE = 100.0
EXPIRED = -1.0
numbers = count(1)


def save(store: DocumentStore, **fields: object) -> DocumentId:
    """Save a mood as an upload does; return its id."""
    return save_as(store, MOOD, {"mood": "calm", "when": WHEN, "user": "auth0|someone", **fields})


def save_as(store: DocumentStore, kind: MediaType, content: RawDocument) -> DocumentId:
    """Save a document with an ObjectId, if it has no other id; return its id."""
    document = {"_id": ObjectId(), **content}
    store.collection(kind).insert_one(document)
    return cast("DocumentId", document["_id"])


def change(store: DocumentStore, item: DocumentId, fields: Mapping[str, object]) -> None:
    """Change fields of a document, as an edit or an older program would."""
    store.collection(MOOD).update_one({"_id": item}, {"$set": fields})


def raw(store: DocumentStore, item: DocumentId, kind: MediaType = MOOD) -> RawDocument:
    """Return what a document's `atproto` says."""
    document = store.collection(kind).find_one({"_id": item})
    assert document is not None
    state = document["atproto"]
    assert isinstance(state, dict)
    return state


def claim(
    store: DocumentStore, item: DocumentId, *, holder: str = "", lease: float = LEASE
) -> MediaDocument:
    """Claim a document for a new message, or for a given one; it must be free."""
    claimed = store.claim(MOOD, [item], holder=holder or f"message {next(numbers)}", lease=lease)
    assert isinstance(claimed, MediaDocument)
    return claimed


def settled(document: MediaDocument) -> SyncState:
    """Return the state of a run that ended well."""
    return document.state._replace(status=Status.SYNCED, error=None, retry_at=None, synced_at=now())


def failed(document: MediaDocument, code: str = "pds_unreachable") -> SyncState:
    """Return the state of a run that is to be tried again now."""
    failure = Failure("write", code, "no answer", permanent=False, at=now())
    return document.state._replace(status=Status.PENDING, error=failure, retry_at=now())
