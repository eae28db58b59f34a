"""What the sweep looks for in MongoDB: documents that do not agree with what is published.

The other half of the store: it finds items and marks them as enqueued, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import cast

from bson import ObjectId
from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from worker.documents import DocumentId, ItemRef, MediaDocument, Status
from worker.media import MEDIA_TYPES, MediaType
from worker.mongo import RawDocument, translated
from worker.store import Store

_CURSORS = "atproto_sweep"
_NOBODY = (None, "")
_OF_NOBODY: RawDocument = {"user": {"$in": list(_NOBODY)}}
_TEXT = {"$type": "string"}
# A query uses a partial index only if its own terms imply the filter. A comparison implies that
# the field is there, but not its type.
_THERE = {"$exists": True}
# `atproto: null` and the like cannot hold fields: a run makes room first.
_HAS_ROOM = {"$expr": {"$in": [{"$type": "$atproto"}, ["missing", "object"]]}}

INDEXES = (
    # One record, one document: what makes a reserved rkey an identity.
    IndexModel(
        [("atproto.repo", ASCENDING), ("atproto.rkey", ASCENDING)],
        name="atproto_identity",
        unique=True,
        partialFilterExpression={"atproto.repo": _TEXT, "atproto.rkey": _TEXT},
    ),
    IndexModel(
        [("atproto.retryAt", ASCENDING)],
        name="atproto_due",
        partialFilterExpression={"atproto.retryAt": _THERE},
    ),
    IndexModel([("atproto.status", ASCENDING), ("_id", ASCENDING)], name="atproto_unseen"),
    IndexModel([("atproto.status", ASCENDING), ("when", ASCENDING)], name="atproto_unseen_when"),
    IndexModel(
        [("user", ASCENDING), ("atproto.status", ASCENDING), ("_id", ASCENDING)],
        name="atproto_owner",
    ),
    IndexModel(
        [("atproto.reason", ASCENDING), ("user", ASCENDING)],
        name="atproto_skipped",
        partialFilterExpression={"atproto.reason": _THERE},
    ),
    IndexModel(
        [("atproto.rkey", ASCENDING)],
        name="atproto_rkey",
        partialFilterExpression={"atproto.rkey": _THERE},
    ),
)


class Backlog:
    """Queries over all media types for what has to be enqueued."""

    def __init__(self, database: Database[RawDocument], store: Store) -> None:
        self._cursors = database[_CURSORS]
        self._store = store

    def ensure_indexes(self) -> None:
        """Create the indexes that the store and these queries need; safe to repeat."""
        for kind in MEDIA_TYPES.values():
            with translated():
                self._store.collection(kind).create_indexes(list(INDEXES))

    def due(self, kind: MediaType, now: datetime, limit: int) -> list[ItemRef]:
        """Return items whose time to be tried (again) has come, longest waiting first."""
        match = {"atproto.retryAt": {"$lte": now}}
        return self._refs(kind, match, "atproto.retryAt", limit)

    def unseen(
        self, kind: MediaType, since: datetime, until: datetime, limit: int
    ) -> list[ItemRef]:
        """Return items saved in a span of time that no run has ever looked at.

        An ObjectId tells when a document was saved, whatever date it bears; of other ids
        `when` is all there is to go by.
        """
        ids = {"$gte": ObjectId.from_datetime(since), "$lte": _last_id(until)}
        dated = {"when": {"$gte": since, "$lte": until}, "_id": {"$not": {"$type": "objectId"}}}
        unseen: RawDocument = {"atproto.status": None}
        found = self._refs(kind, unseen | {"_id": ids}, "_id", limit)
        return found + self._refs(kind, unseen | dated, "when", limit - len(found))

    def waiting_for_account(self, kind: MediaType) -> list[str]:
        """Return the subjects who have items that were skipped for want of an account."""
        skipped: RawDocument = {"atproto.reason": "no_account"}
        with translated():
            users = self._store.collection(kind).distinct("user", skipped)
            nobodys = self._store.collection(kind).find_one(skipped | _OF_NOBODY, {"_id": 1})
        subjects = {user for user in users if isinstance(user, str) and user}
        return sorted(subjects | ({self._store.guest_subject} if nobodys else set()))

    def skipped_of(self, kind: MediaType, users: Sequence[str], limit: int) -> list[ItemRef]:
        """Return the items of users that were skipped for want of an account."""
        owners = [*users, *(_NOBODY if self._store.guest_subject in users else ())]
        # One with a `retryAt` is on the queue already, and found by it should it get lost there.
        match = {"atproto.reason": "no_account", "user": {"$in": owners}, "atproto.retryAt": None}
        return self._refs(kind, match, "atproto.reason", limit)

    def changed(self, kind: MediaType, window: int) -> list[ItemRef]:
        """Return items that were edited since their last run, in the next stretch of documents.

        Goes through the whole collection, `window` documents a call, and starts over at its end:
        this finds edits whose message was lost.
        """
        documents = list(self._stretch(kind, window))
        last = documents[-1].ref.id if len(documents) == window else None
        with translated():
            self._cursors.update_one({"_id": kind.name}, {"$set": {"after": last}}, upsert=True)
        return [document.ref for document in documents if _is_changed(document)]

    def mark(self, kind: MediaType, refs: Sequence[ItemRef], again: datetime) -> None:
        """Note that items are enqueued: no sweep enqueues them before `again`."""
        these: RawDocument = {"_id": {"$in": [ref.id for ref in refs]}, **_HAS_ROOM}
        known = these | {"atproto.status": _TEXT}
        unseen = these | {"atproto.status": None}
        later: RawDocument = {"atproto.retryAt": again}
        with translated():
            collection = self._store.collection(kind)
            collection.update_many(known, {"$set": later})
            collection.update_many(
                unseen, {"$set": later | {"atproto.status": Status.PENDING.value}}
            )

    def _refs(
        self, kind: MediaType, match: Mapping[str, object], order: str, limit: int
    ) -> list[ItemRef]:
        if limit <= 0:
            return []  # to MongoDB, a limit of 0 is none
        with translated():
            found = self._store.collection(kind).find(match, {"_id": 1}).sort(order).limit(limit)
            return [ItemRef(kind.name, cast("DocumentId", raw["_id"])) for raw in found]

    def _stretch(self, kind: MediaType, window: int) -> Iterator[MediaDocument]:
        with translated():
            cursor = self._cursors.find_one({"_id": kind.name})
            after = cast("DocumentId | None", cursor.get("after")) if cursor else None
            yield from self._store.stretch(kind, after, window)


def _last_id(moment: datetime) -> ObjectId:
    """Return the greatest ObjectId of a moment's second."""
    return ObjectId(ObjectId.from_datetime(moment).binary[:4] + b"\xff" * 8)


def _is_changed(document: MediaDocument) -> bool:
    state = document.state
    on_its_way = state.lease is not None or state.retry_at is not None
    return state.fingerprint not in {None, document.fingerprint} and not on_its_way
