"""Find and mark items to enqueue, and define the media collections' indexes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby, islice
from typing import cast

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateMany
from pymongo.database import Database

from worker.core.documents import DocumentId, ItemRef, OwnedItem, Status
from worker.core.ids import as_document_id
from worker.database.leases import held_expression, not_held
from worker.database.mongo import RawDocument, StateNotSavedError, bulk_write, mongo_errors
from worker.database.store import GUEST_USERS, DocumentStore
from worker.media import MediaType

CURSORS = "atproto_sweep"
_GUEST_OWNED: RawDocument = {"user": {"$in": list(GUEST_USERS)}}
_NO_ACCOUNT: RawDocument = {"atproto.reason": "no_account"}
_PAGE = 1000  # documents
_OWNER_PAGE = 100  # due documents, of one owner or of several
_SCAN_SECONDS = 10.0  # of a search for edits in one sweep
_TEXT = {"$type": "string"}
_Order = list[tuple[str, int]]
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


DUE_BY_OWNER = [("user", ASCENDING), ("atproto.retryAt", DESCENDING)]
UNSEEN = _ascending("atproto.status", "_id")
OWNER = _ascending("user", "atproto.status", "_id")
# The status is only used to count skipped and removed items.
SKIPPED = _ascending("atproto.reason", "user", "atproto.status")
PUBLISHED = _ascending("atproto.publishedAt")  # only used for counts
# The last field is only used to find the item that has been failing for the longest time.
TROUBLE = _ascending("atproto.status", "atproto.error.code", "_id", "atproto.failingSince")
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
    _index("due_by_owner", DUE_BY_OWNER, {"atproto.retryAt": _EXISTS}),
    _index("unseen", UNSEEN),
    _index("unseen_dated", _ascending("atproto.status", "when"), _DATED),
    _index("owner", OWNER),
    _index("skipped", SKIPPED, {"atproto.reason": _EXISTS}),
    _index("rkey", _ascending("atproto.rkey"), {"atproto.rkey": _EXISTS}),
    _index("published", PUBLISHED, {"atproto.publishedAt": _EXISTS}),
    _index("trouble", TROUBLE, {"atproto.status": _TROUBLED}),
)
LOOKUP_FIELDS = ("code", "slug")
"""The fields by which operators name items, if a media type reads them."""

FAILED = (Status.FAILED, Status.PARTIAL)
NO_CODE = "(none)"  # for errors without a valid code, saved by older programs


def lookup_index(field: str) -> IndexModel:
    """Return the index for lookups by a field, unless the platform has one."""
    return _index(field, _ascending(field), {field: _EXISTS})


class Backlog:
    """Finds items to enqueue, and marks them as enqueued."""

    def __init__(self, database: Database[RawDocument], store: DocumentStore) -> None:
        self._cursors = database[CURSORS]
        self._store = store

    def find_due(self, kind: MediaType, now: datetime, limit: int) -> list[OwnedItem]:
        """Return the items with `retryAt` up to `now`, earliest first."""
        match = {"atproto.retryAt": {"$lte": now}}
        return self._find_items(kind, match, _ascending("atproto.retryAt"), limit)

    def find_due_by_owner(
        self, kind: MediaType, now: datetime, quota: int, limit: int
    ) -> list[OwnedItem]:
        """Return up to `limit` due items of the next owners, at most `quota` of each.

        The position is saved in MongoDB: repeated calls cycle through the owners. A page ends with
        its last owner, whose other items are not read, so a few pages suffice for any number of
        items. Those due last come first, because `find_due` returns the others.
        """
        name, found = f"{kind.name} due", list[OwnedItem]()
        after = self._position(name)
        while len(found) < limit:
            # At the start of a cycle, the documents without a user.
            user = {"$in": list(GUEST_USERS)} if after is None else {"$gt": after}
            match = {"user": user, "atproto.retryAt": {"$lte": now}}
            page = self._find_raws(kind, match, DUE_BY_OWNER, _OWNER_PAGE)
            found += self._to_owned_items(kind, _first_of_each_owner(page, quota))
            is_end = after is not None and len(page) < _OWNER_PAGE
            after = None if is_end else _last_user(page)
            self._save_position(name, after)
            if is_end:
                break
        return found

    def find_unseen(
        self,
        kind: MediaType,
        since: datetime,
        until: datetime,
        limit: int,
        *,
        latest_first: bool = False,
    ) -> list[OwnedItem]:
        """Return items without a status, saved between `since` and `until`.

        Those that a batch holds are omitted: its claims set no status.
        """
        order = DESCENDING if latest_first else ASCENDING
        last = ObjectId(ObjectId.from_datetime(until).binary[:4] + b"\xff" * 8)
        ids = {"$gte": ObjectId.from_datetime(since), "$lte": last}
        dated = {"when": {"$gte": since, "$lte": until}, **_DATED}
        unseen: RawDocument = {"atproto.status": None, **not_held()}
        found = self._find_items(kind, unseen | {"_id": ids}, [("_id", order)], limit)
        rest = limit - len(found)
        return found + self._find_items(kind, unseen | dated, [("when", order)], rest)

    def waiting_for_account(self, kind: MediaType, pages: int) -> Iterator[set[str]]:
        """Yield subjects with items that were skipped for lack of an account, in up to `pages`.

        The position is saved in MongoDB: repeated calls cycle through the owners.
        """
        name = f"{kind.name} skipped"
        after = cast("str | None", self._position(name))
        if after is None and self._find_raws(kind, _NO_ACCOUNT | _GUEST_OWNED, SKIPPED, 1):
            yield {self._store.guest_subject}
        for _ in range(pages):
            users = self._next_skipped(kind, after or "")
            after = users[-1] if len(users) == _PAGE else None
            self._save_position(name, after)
            if users:
                yield set(users)
            if after is None:
                return

    def _next_skipped(self, kind: MediaType, after: str) -> list[str]:
        """Return the owners of the next skipped items, read from the index alone."""
        match = _NO_ACCOUNT | {"user": {"$gt": after}}
        with mongo_errors():
            found = self._store.collection(kind).find(match, {"user": 1, "_id": 0}).hint(SKIPPED)
            return [str(raw["user"]) for raw in found.sort(SKIPPED).limit(_PAGE)]

    def find_skipped(self, kind: MediaType, users: Sequence[str], limit: int) -> list[OwnedItem]:
        """Return the items of `users` that were skipped for lack of an account."""
        owners = [*users, *(GUEST_USERS if self._store.guest_subject in users else ())]
        # An item with `retryAt` is enqueued already. If its message is lost, find_due finds it.
        match = _NO_ACCOUNT | {"user": {"$in": owners}, "atproto.retryAt": None}
        return self._find_items(kind, match, _ascending("atproto.reason"), limit)

    def find_changed(self, kind: MediaType, window: int) -> list[OwnedItem]:
        """Return items edited since their last run, in the next `window` documents.

        The position is saved in MongoDB: repeated calls cycle through the collection. This finds
        edits with a lost message. After some seconds, a call ends before its window does.
        """
        after = cast("DocumentId | None", self._position(kind.name))
        changed, after = self.find_changed_after(kind, after, window, seconds=_SCAN_SECONDS)
        self._save_position(kind.name, after)
        return changed

    def _position(self, name: str) -> object:
        with mongo_errors():
            cursor = self._cursors.find_one({"_id": name})
        return cursor.get("after") if cursor else None

    def _save_position(self, name: str, after: object) -> None:
        with mongo_errors():
            self._cursors.update_one({"_id": name}, {"$set": {"after": after}}, upsert=True)

    def find_changed_after(
        self,
        kind: MediaType,
        after: DocumentId | None,
        window: int,
        *,
        seconds: float = math.inf,
    ) -> tuple[list[OwnedItem], DocumentId | None]:
        """Return items edited since their last run, in `window` documents after an id.

        After `seconds`, no further document is read: thousands of documents of 16 MB take minutes.
        Also returns the last id read, to continue after. The id None as a parameter is the start
        of the collection, as a result its end.
        """
        changed: list[OwnedItem] = []
        count, last, end = 0, None, time.monotonic() + seconds
        # One by one: a document may have 16 MB, and a window thousands of documents.
        for raw in self._store.scan(kind, after, window):
            count, last = count + 1, cast("DocumentId", raw["_id"])
            if self._is_changed(kind, raw) and (owned := self._to_owned(kind, raw)):
                changed.append(owned)
            if time.monotonic() > end:
                return changed, last
        return changed, last if count == window else None

    def _is_changed(self, kind: MediaType, raw: RawDocument) -> bool:
        """Return whether a document was edited and no run is pending, or cannot be parsed."""
        try:
            document = self._store.parse(kind, raw)
            state, is_edited = document.state, document.is_edited
        except Exception:  # noqa: BLE001
            # Any exception: a bug with one document must not end the search. A run of the document
            # raises it again, saves it and reports it.
            return True
        return is_edited and state.lease is None and state.retry_at is None

    def mark(self, kind: MediaType, refs: Sequence[ItemRef], again: datetime) -> None:
        """Set `retryAt` of enqueued items to `again`; skip documents that cannot be saved."""
        for start in range(0, len(refs), _PAGE):
            self._mark(kind, [ref.id for ref in refs[start : start + _PAGE]], again)

    def _mark(self, kind: MediaType, ids: Sequence[DocumentId], again: datetime) -> None:
        collection = self._store.collection(kind)
        try:
            with mongo_errors():
                for match, update in _marks(ids, again):
                    collection.update_many(match, update)
        except StateNotSavedError:  # the call ended at that document
            writes = [UpdateMany(*mark) for each in ids for mark in _marks([each], again)]
            with mongo_errors():
                bulk_write(collection, writes)

    def reset_attempts(self, kind: MediaType, ids: Sequence[DocumentId], again: datetime) -> int:
        """Reset the attempts of failed, partial and pending items; return how many.

        Sets their status to pending and their `retryAt` to `again`. Items that a run holds are
        skipped, because that run is already a retry, and so are documents that cannot be saved.
        """
        # A batch that died has left items without a status.
        begun: RawDocument = {"atproto.status": None, "atproto.attemptedAt": {"$ne": None}}
        not_settled: list[RawDocument] = [{"atproto.status": {"$in": _NOT_SETTLED}}, begun]
        match: RawDocument = {"$or": not_settled, **not_held()}
        update = _reset_update(again)
        writes = [UpdateMany({"_id": {"$eq": each}, **match}, update) for each in ids]
        with mongo_errors():
            return bulk_write(self._store.collection(kind), writes)

    def mark_remake(self, kind: MediaType, ids: Sequence[DocumentId], again: datetime) -> int:
        """Let the next run of these items make their thumbnails again; return their number.

        Synced items become pending, with the `retryAt` `again`. Items that were removed meanwhile
        stay removed. Documents that cannot be saved are skipped.
        """
        update, others = _remake_update(again), {"$ne": Status.REMOVED.value}
        match: RawDocument = {"atproto.status": others}
        writes = [UpdateMany({"_id": {"$eq": each}, **match}, update) for each in ids]
        with mongo_errors():
            self._store.clear_malformed(kind, ids)
            return bulk_write(self._store.collection(kind), writes)

    def _find_items(
        self, kind: MediaType, match: Mapping[str, object], order: _Order, limit: int
    ) -> list[OwnedItem]:
        return self._to_owned_items(kind, self._find_raws(kind, match, order, limit))

    def _find_raws(
        self, kind: MediaType, match: Mapping[str, object], order: _Order, limit: int
    ) -> list[RawDocument]:
        if limit <= 0:
            return []  # MongoDB takes a limit of 0 as no limit
        with mongo_errors():
            found = self._store.collection(kind).find(match, {"user": 1})
            if order == DUE_BY_OWNER:
                found.hint(DUE_BY_OWNER)
            return list(found.sort(order).limit(limit))

    def _to_owned_items(self, kind: MediaType, raws: Iterable[RawDocument]) -> list[OwnedItem]:
        return [owned for raw in raws if (owned := self._to_owned(kind, raw))]

    def _to_owned(self, kind: MediaType, raw: RawDocument) -> OwnedItem | None:
        """Convert a document; mark it as failed and return None if its id is invalid."""
        if as_document_id(raw["_id"]) is not None:
            return self._store.to_owned_item(kind, raw)
        self._store.mark_invalid_id(kind, raw["_id"])
        return None


def _first_of_each_owner(page: Sequence[RawDocument], quota: int) -> Iterator[RawDocument]:
    """Yield the first `quota` documents of each owner; the page is sorted by owner."""
    for _, own in groupby(page, lambda raw: raw.get("user") or ""):
        yield from islice(own, quota)


def _last_user(page: Sequence[RawDocument]) -> str:
    """Return the last owner of a page, or "" for documents without a user."""
    return str(page[-1].get("user") or "") if page else ""


def _marks(ids: Sequence[DocumentId], again: datetime) -> Iterator[tuple[RawDocument, RawDocument]]:
    """Yield the filters and updates that set `retryAt` of these documents."""
    these: RawDocument = {"_id": {"$in": list(ids)}, **_HAS_ROOM}
    later: RawDocument = {"atproto.retryAt": again}
    yield these | {"atproto.status": _TEXT}, {"$set": later}
    pending = later | {"atproto.status": Status.PENDING.value}
    yield these | {"atproto.status": {"$not": _TEXT}}, {"$set": pending}


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


def _remake_update(again: datetime) -> list[RawDocument]:
    """Build the update as a pipeline, because it depends on the status and the lease."""
    is_settled = {"$in": [{"$ifNull": ["$atproto.status", None]}, [None, Status.SYNCED.value]]}
    marked = {
        "atproto.remake": True,
        # A run that holds the document has not read `remake`, and overwrites the other fields.
        "atproto.again": True,
        "atproto.status": {"$cond": [is_settled, Status.PENDING.value, "$atproto.status"]},
        "atproto.retryAt": again,
        # Without it, a concurrent claim reads the document again.
        "atproto.attemptedAt": {
            "$cond": [held_expression(), "$atproto.attemptedAt", "$$REMOVE"],
        },
    }
    return [{"$set": marked}]


def with_code(code: str) -> dict[str, object]:
    """Build a filter for documents with this error code; NO_CODE: without a code."""
    return {"atproto.error.code": code if code != NO_CODE else {"$not": {"$type": "string"}}}
