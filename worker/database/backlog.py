"""What the sweep looks for in MongoDB: documents that do not agree with what is published.

The other half of the store: it finds items and marks them as enqueued, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import cast

from bson import ObjectId
from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from worker.core.clock import now
from worker.core.documents import DocumentId, ItemRef, MediaDocument, OwnedItem, Status
from worker.core.fields import is_text
from worker.core.ids import as_document_id
from worker.database.mongo import DocumentFullError, RawDocument, mongo_errors
from worker.database.store import GUEST_USERS, DocumentStore
from worker.media import MediaType

_CURSORS = "atproto_sweep"
_GUEST_OWNED: RawDocument = {"user": {"$in": list(GUEST_USERS)}}
_TEXT = {"$type": "string"}
# A query uses a partial index only if its own terms imply the filter. A comparison implies that
# the field is there, but not its type.
_THERE = {"$exists": True}
_NOT_RIGHT = [Status.FAILED.value, Status.PARTIAL.value, Status.PENDING.value]
# `atproto: null` and the like cannot hold fields: a run makes room first.
_HAS_ROOM = {"$expr": {"$in": [{"$type": "$atproto"}, ["missing", "object"]]}}

# ObjectIds tell when a document was saved; of the ids of all other types `when` has to.
_DATED = {"_id": {"$type": ["string", "int", "long", "double"]}}

UNSEEN = [("atproto.status", ASCENDING), ("_id", ASCENDING)]
OWNER = [("user", ASCENDING), ("atproto.status", ASCENDING), ("_id", ASCENDING)]
# The status is there for counting alone: what is skipped for a reason, and what removed.
SKIPPED = [("atproto.reason", ASCENDING), ("user", ASCENDING), ("atproto.status", ASCENDING)]
# What was published when, for counting alone.
PUBLISHED = [("atproto.syncedAt", ASCENDING)]
# The last two fields tell since when an item waits, so that no document is read for that.
TROUBLE = [
    (name, ASCENDING)
    for name in ("atproto.status", "atproto.error.code", "_id", "atproto.syncedAt", "when")
]

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
    IndexModel(UNSEEN, name="atproto_unseen"),
    IndexModel(
        [("atproto.status", ASCENDING), ("when", ASCENDING)],
        name="atproto_unseen_dated",
        partialFilterExpression=_DATED,
    ),
    IndexModel(OWNER, name="atproto_owner"),
    IndexModel(SKIPPED, name="atproto_skipped", partialFilterExpression={"atproto.reason": _THERE}),
    IndexModel(
        [("atproto.rkey", ASCENDING)],
        name="atproto_rkey",
        partialFilterExpression={"atproto.rkey": _THERE},
    ),
    IndexModel(
        PUBLISHED,
        name="atproto_published",
        partialFilterExpression={"atproto.syncedAt": _THERE},
    ),
    # Few documents at most times: of all statuses these three are neighbours in the alphabet, and
    # a range is what every MongoDB can filter an index by.
    IndexModel(
        TROUBLE,
        name="atproto_trouble",
        partialFilterExpression={
            "atproto.status": {"$gte": Status.FAILED.value, "$lte": Status.PENDING.value}
        },
    ),
)
FAILED = (Status.FAILED, Status.PARTIAL)
NO_CODE = "(none)"  # stands for what older programs left without a code that can be read


class Backlog:
    """Queries over all media types for what has to be enqueued."""

    def __init__(self, database: Database[RawDocument], store: DocumentStore) -> None:
        self._cursors = database[_CURSORS]
        self._store = store

    def find_due(self, kind: MediaType, now: datetime, limit: int) -> list[OwnedItem]:
        """Return items whose time to be tried (again) has come, longest waiting first."""
        match = {"atproto.retryAt": {"$lte": now}}
        return self._find_items(kind, match, "atproto.retryAt", limit)

    def find_unseen(
        self, kind: MediaType, since: datetime, until: datetime, limit: int
    ) -> list[OwnedItem]:
        """Return items saved in a span of time that no run has ever looked at.

        An ObjectId tells when a document was saved, whatever date it bears; of other ids
        `when` is all there is to go by.
        """
        ids = {"$gte": ObjectId.from_datetime(since), "$lte": _last_id(until)}
        dated = {"when": {"$gte": since, "$lte": until}, **_DATED}
        unseen: RawDocument = {"atproto.status": None}
        found = self._find_items(kind, unseen | {"_id": ids}, "_id", limit)
        return found + self._find_items(kind, unseen | dated, "when", limit - len(found))

    def waiting_for_account(self, kind: MediaType) -> list[str]:
        """Return the subjects who have items that were skipped for want of an account."""
        skipped: RawDocument = {"atproto.reason": "no_account"}
        with mongo_errors():
            users = self._store.collection(kind).distinct("user", skipped)
            nobodys = self._store.collection(kind).find_one(skipped | _GUEST_OWNED, {"_id": 1})
        subjects = {user for user in users if is_text(user) and user}
        return sorted(subjects | ({self._store.guest_subject} if nobodys else set()))

    def find_skipped(self, kind: MediaType, users: Sequence[str], limit: int) -> list[OwnedItem]:
        """Return the items of users that were skipped for want of an account."""
        owners = [*users, *(GUEST_USERS if self._store.guest_subject in users else ())]
        # One with a `retryAt` is on the queue already, and found by it should it get lost there.
        match = {"atproto.reason": "no_account", "user": {"$in": owners}, "atproto.retryAt": None}
        return self._find_items(kind, match, "atproto.reason", limit)

    def find_changed(self, kind: MediaType, window: int) -> list[OwnedItem]:
        """Return items that were edited since their last run, in the next stretch of documents.

        Goes through the whole collection, `window` documents a call, and starts over at its end:
        this finds edits whose message was lost.
        """
        with mongo_errors():
            cursor = self._cursors.find_one({"_id": kind.name})
        after = cast("DocumentId | None", cursor.get("after")) if cursor else None
        changed, after = self.find_changed_after(kind, after, window)
        with mongo_errors():
            self._cursors.update_one({"_id": kind.name}, {"$set": {"after": after}}, upsert=True)
        return changed

    def find_changed_after(
        self, kind: MediaType, after: DocumentId | None, window: int
    ) -> tuple[list[OwnedItem], DocumentId | None]:
        """Return items that were edited since their last run, of `window` documents after an id.

        With them comes the id to go on after, None at the end of the collection, where None
        starts.
        """
        changed: list[OwnedItem] = []
        count, last = 0, None
        # One by one: a document may have 16 MB, and a stretch thousands of them.
        for raw_id, document in self._store.scan(kind, after, window):
            count, last = count + 1, cast("DocumentId", raw_id)
            if _is_changed(document):
                changed.append(OwnedItem(document.ref, document.owner))
        return changed, last if count == window else None

    def mark(self, kind: MediaType, refs: Sequence[ItemRef], again: datetime) -> None:
        """Note that items are enqueued: no sweep enqueues them before `again`.

        On a document that is full it is not noted; its neighbours are marked all the same.
        """
        try:
            self._mark(kind, refs, again)
        except DocumentFullError:
            for ref in refs:
                with suppress(DocumentFullError):
                    self._mark(kind, [ref], again)

    def _mark(self, kind: MediaType, refs: Sequence[ItemRef], again: datetime) -> None:
        these: RawDocument = {"_id": {"$in": [ref.id for ref in refs]}, **_HAS_ROOM}
        known = these | {"atproto.status": _TEXT}
        unseen = these | {"atproto.status": None}
        later: RawDocument = {"atproto.retryAt": again}
        with mongo_errors():
            collection = self._store.collection(kind)
            collection.update_many(known, {"$set": later})
            collection.update_many(
                unseen, {"$set": later | {"atproto.status": Status.PENDING.value}}
            )

    def reset_attempts(self, kind: MediaType, ids: Sequence[DocumentId], again: datetime) -> int:
        """Give items that were given up, or wait, all their attempts again; return how many.

        They are pending then, and no sweep enqueues them before `again`. What is settled stays
        as it is, and so does what a run holds: that run is the attempt.
        """
        these: RawDocument = {"_id": {"$in": list(ids)}, "atproto.status": {"$in": _NOT_RIGHT}}
        with mongo_errors():
            collection = self._store.collection(kind)
            return collection.update_many(these | not_held(), _reset_update(again)).modified_count

    def _find_items(
        self, kind: MediaType, match: Mapping[str, object], order: str, limit: int
    ) -> list[OwnedItem]:
        if limit <= 0:
            return []  # to MongoDB, a limit of 0 is none
        with mongo_errors():
            found = self._store.collection(kind).find(match, {"user": 1}).sort(order).limit(limit)
            raws = list(found)
        return [owned for raw in raws if (owned := self._to_owned(kind, raw))]

    def _to_owned(self, kind: MediaType, raw: RawDocument) -> OwnedItem | None:
        """Return an item; None, and a note on its document, if no message could name it."""
        if as_document_id(raw["_id"]) is not None:
            return self._store.to_owned_item(kind, raw)
        self._store.mark_invalid_id(kind, raw["_id"])
        return None


def not_held() -> RawDocument:
    """Match documents that no run holds now; a lease that has expired holds nothing."""
    free = [{"atproto.lease.until": None}, {"atproto.lease.until": {"$lte": now()}}]
    return {"$or": free}


def _reset_update(again: datetime) -> list[RawDocument]:
    """Return the changes, as a pipeline: of `error`, which may be of any type, the text stays."""
    error = {"$mergeObjects": ["$atproto.error", {"permanent": False}]}
    is_error = {"$eq": [{"$type": "$atproto.error"}, "object"]}
    fresh = {
        "atproto.status": Status.PENDING.value,
        "atproto.attempts": 0,
        "atproto.retryAt": again,
        "atproto.error": {"$cond": [is_error, error, "$$REMOVE"]},
    }
    # Without `attemptedAt`, a claim that has read the document before this misses it now, and
    # counts its attempts anew. A lease left behind would count as one more lost run.
    stale = ["atproto.lost", "atproto.lease", "atproto.attemptedAt"]
    return [{"$set": fresh}, {"$unset": stale}]


def _last_id(moment: datetime) -> ObjectId:
    """Return the greatest ObjectId of a moment's second."""
    return ObjectId(ObjectId.from_datetime(moment).binary[:4] + b"\xff" * 8)


def _is_changed(document: MediaDocument) -> bool:
    state = document.state
    on_its_way = state.lease is not None or state.retry_at is not None
    return state.fingerprint not in {None, document.fingerprint} and not on_its_way


def with_code(code: str) -> dict[str, object]:
    """Match documents whose error has this code, or NO_CODE."""
    return {"atproto.error.code": code if code != NO_CODE else {"$not": {"$type": "string"}}}
