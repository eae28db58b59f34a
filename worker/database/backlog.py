"""Find and mark items to enqueue, and define the media collections' indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import cast

from bson import ObjectId
from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from worker.core.documents import DocumentId, ItemRef, OwnedItem, Status
from worker.core.fields import is_text
from worker.core.ids import as_document_id
from worker.database.leases import not_held
from worker.database.mongo import DocumentFullError, RawDocument, mongo_errors
from worker.database.store import GUEST_USERS, DocumentStore
from worker.media import MediaType

CURSORS = "atproto_sweep"
_GUEST_OWNED: RawDocument = {"user": {"$in": list(GUEST_USERS)}}
_TEXT = {"$type": "string"}
# A query uses a partial index only if its conditions imply the filter. A comparison implies that
# the field exists, but not its type.
_EXISTS = {"$exists": True}
_NOT_SETTLED = [Status.FAILED.value, Status.PARTIAL.value, Status.PENDING.value]
# Fields cannot be set in a state such as `atproto: null`: a run unsets it first.
_HAS_ROOM = {"$expr": {"$in": [{"$type": "$atproto"}, ["missing", "object"]]}}

# ObjectIds contain the time when a document was saved; for ids of other types `when` is used.
_DATED = {"_id": {"$type": ["string", "int", "long", "double"]}}


def _ascending(*fields: str) -> list[tuple[str, int]]:
    return [(field, ASCENDING) for field in fields]


def _index(
    name: str, key: list[tuple[str, int]], where: Mapping[str, object] | None = None
) -> IndexModel:
    partial = {"partialFilterExpression": where} if where else {}
    return IndexModel(key, name=f"atproto_{name}", **partial)


UNSEEN = _ascending("atproto.status", "_id")
OWNER = _ascending("user", "atproto.status", "_id")
# The status is only used to count skipped and removed items.
SKIPPED = _ascending("atproto.reason", "user", "atproto.status")
PUBLISHED = _ascending("atproto.syncedAt")  # only used for counts
# The last two fields give the start of a wait without reading the document.
TROUBLE = _ascending("atproto.status", "atproto.error.code", "_id", "atproto.syncedAt", "when")
# Matches failed, partial and pending documents, usually few. These statuses are consecutive in
# alphabetical order, and all MongoDB versions support a range as the filter of an index.
_TROUBLED = {"$gte": Status.FAILED.value, "$lte": Status.PENDING.value}

INDEXES = (
    # Each record key belongs to one document.
    IndexModel(
        _ascending("atproto.repo", "atproto.rkey"),
        name="atproto_identity",
        unique=True,
        partialFilterExpression={"atproto.repo": _TEXT, "atproto.rkey": _TEXT},
    ),
    _index("due", _ascending("atproto.retryAt"), {"atproto.retryAt": _EXISTS}),
    _index("unseen", UNSEEN),
    _index("unseen_dated", _ascending("atproto.status", "when"), _DATED),
    _index("owner", OWNER),
    _index("skipped", SKIPPED, {"atproto.reason": _EXISTS}),
    _index("rkey", _ascending("atproto.rkey"), {"atproto.rkey": _EXISTS}),
    _index("published", PUBLISHED, {"atproto.syncedAt": _EXISTS}),
    _index("trouble", TROUBLE, {"atproto.status": _TROUBLED}),
)
FAILED = (Status.FAILED, Status.PARTIAL)
NO_CODE = "(none)"  # for errors without a valid code, saved by older programs


class Backlog:
    """Finds items to enqueue, and marks them as enqueued."""

    def __init__(self, database: Database[RawDocument], store: DocumentStore) -> None:
        self._cursors = database[CURSORS]
        self._store = store

    def find_due(self, kind: MediaType, now: datetime, limit: int) -> list[OwnedItem]:
        """Return the items with `retryAt` up to `now`, earliest first."""
        match = {"atproto.retryAt": {"$lte": now}}
        return self._find_items(kind, match, "atproto.retryAt", limit)

    def find_unseen(
        self, kind: MediaType, since: datetime, until: datetime, limit: int
    ) -> list[OwnedItem]:
        """Return items without a status, saved between `since` and `until`."""
        last = ObjectId(ObjectId.from_datetime(until).binary[:4] + b"\xff" * 8)
        ids = {"$gte": ObjectId.from_datetime(since), "$lte": last}
        dated = {"when": {"$gte": since, "$lte": until}, **_DATED}
        unseen: RawDocument = {"atproto.status": None}
        found = self._find_items(kind, unseen | {"_id": ids}, "_id", limit)
        return found + self._find_items(kind, unseen | dated, "when", limit - len(found))

    def waiting_for_account(self, kind: MediaType) -> list[str]:
        """Return the subjects with items that were skipped for lack of an account."""
        skipped: RawDocument = {"atproto.reason": "no_account"}
        with mongo_errors():
            users = self._store.collection(kind).distinct("user", skipped)
            of_guest = self._store.collection(kind).find_one(skipped | _GUEST_OWNED, {"_id": 1})
        subjects = {user for user in users if is_text(user) and user}
        return sorted(subjects | ({self._store.guest_subject} if of_guest else set()))

    def find_skipped(self, kind: MediaType, users: Sequence[str], limit: int) -> list[OwnedItem]:
        """Return the items of `users` that were skipped for lack of an account."""
        owners = [*users, *(GUEST_USERS if self._store.guest_subject in users else ())]
        # An item with `retryAt` is enqueued already. If its message is lost, find_due finds it.
        match = {"atproto.reason": "no_account", "user": {"$in": owners}, "atproto.retryAt": None}
        return self._find_items(kind, match, "atproto.reason", limit)

    def find_changed(self, kind: MediaType, window: int) -> list[OwnedItem]:
        """Return items edited since their last run, in the next `window` documents.

        The position is saved in MongoDB: repeated calls cycle through the collection. This finds
        edits with a lost message.
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
        """Return items edited since their last run, in `window` documents after an id.

        Also returns the last id read, to continue after. The id None as a parameter is the start
        of the collection, as a result its end.
        """
        changed: list[OwnedItem] = []
        count, last = 0, None
        # One by one: a document may have 16 MB, and a window thousands of documents.
        for raw_id, document in self._store.scan(kind, after, window):
            count, last = count + 1, cast("DocumentId", raw_id)
            state = document.state
            is_in_progress = state.lease is not None or state.retry_at is not None
            if document.is_edited and not is_in_progress:
                changed.append(OwnedItem(document.ref, document.owner))
        return changed, last if count == window else None

    def mark(self, kind: MediaType, refs: Sequence[ItemRef], again: datetime) -> None:
        """Set `retryAt` of enqueued items to `again`; skip documents at the size limit."""
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
        """Reset the attempts of failed, partial and pending items; return how many.

        Sets their status to pending and their `retryAt` to `again`. Items that a run holds are
        skipped, because that run is already a retry.
        """
        these: RawDocument = {"_id": {"$in": list(ids)}, "atproto.status": {"$in": _NOT_SETTLED}}
        with mongo_errors():
            collection = self._store.collection(kind)
            return collection.update_many(these | not_held(), _reset_update(again)).modified_count

    def _find_items(
        self, kind: MediaType, match: Mapping[str, object], order: str, limit: int
    ) -> list[OwnedItem]:
        if limit <= 0:
            return []  # MongoDB takes a limit of 0 as no limit
        with mongo_errors():
            found = self._store.collection(kind).find(match, {"user": 1}).sort(order).limit(limit)
            raws = list(found)
        return [owned for raw in raws if (owned := self._to_owned(kind, raw))]

    def _to_owned(self, kind: MediaType, raw: RawDocument) -> OwnedItem | None:
        """Convert a document; mark it as failed and return None if its id is invalid."""
        if as_document_id(raw["_id"]) is not None:
            return self._store.to_owned_item(kind, raw)
        self._store.mark_invalid_id(kind, raw["_id"])
        return None


def _reset_update(again: datetime) -> list[RawDocument]:
    """Build the update as a pipeline, because `error` may have any type."""
    error = {"$mergeObjects": ["$atproto.error", {"permanent": False}]}
    is_error = {"$eq": [{"$type": "$atproto.error"}, "object"]}
    fresh = {
        "atproto.status": Status.PENDING.value,
        "atproto.attempts": 0,
        "atproto.retryAt": again,
        "atproto.error": {"$cond": [is_error, error, "$$REMOVE"]},
    }
    # Unsetting `attemptedAt` makes a concurrent claim read the document again, with its reset
    # attempts. An old lease would count as another lost run.
    stale = ["atproto.lost", "atproto.lease", "atproto.attemptedAt"]
    return [{"$set": fresh}, {"$unset": stale}]


def with_code(code: str) -> dict[str, object]:
    """Build a filter for documents with this error code; NO_CODE: without a code."""
    return {"atproto.error.code": code if code != NO_CODE else {"$not": {"$type": "string"}}}
