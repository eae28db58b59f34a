"""Read the documents to backfill, restore or retry.

All queries use an index and stream their results, so memory does not grow with the number of
documents.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, cast

from worker.core.documents import DocumentId, OwnedItem, Status
from worker.core.ids import as_document_id
from worker.database.backlog import FAILED as FAILED_STATUSES
from worker.database.backlog import OWNER, SKIPPED, TROUBLE, with_code
from worker.database.backlog import UNSEEN as UNSEEN_INDEX
from worker.database.indexes import require_index
from worker.database.leases import not_held
from worker.database.mongo import RawDocument, mongo_errors, stream
from worker.database.state import ResetMode
from worker.database.store import GUEST_USERS, DocumentStore
from worker.media import MediaType

_KNOWN = tuple(status.value for status in Status)
Index = tuple[tuple[str, int], ...]

_CHUNK = 1000
_KEEP_ALIVE = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class StatusGroup:
    """The filter and index hints that select documents by status.

    `settled`: a backfill does not retry documents that are still in this group after processing.
    `leftovers`: hidden documents that still name a record are included.
    """

    match: Mapping[str, object]
    settled: bool = False
    leftovers: bool = True
    index: Index = tuple(UNSEEN_INDEX)
    index_by_owner: Index = tuple(OWNER)


PARTIAL = StatusGroup({"atproto.status": Status.PARTIAL.value}, settled=True)
FAILED = StatusGroup({"atproto.status": Status.FAILED.value}, settled=True)
REMOVED = StatusGroup(
    {
        "atproto.status": Status.REMOVED.value,
        "atproto.reason": {"$ne": ResetMode.FORGOTTEN.value},
    },
    settled=True,
    leftovers=False,
)
NO_ACCOUNT = StatusGroup(
    {"atproto.reason": "no_account", "atproto.status": Status.SKIPPED.value},
    settled=True,
    index=tuple(SKIPPED),
    index_by_owner=tuple(SKIPPED),
)
SKIPPED_OTHERS = StatusGroup(
    {"atproto.status": Status.SKIPPED.value, "atproto.reason": {"$ne": "no_account"}},
    leftovers=False,
)
FORGOTTEN = StatusGroup(
    {"atproto.status": Status.REMOVED.value, "atproto.reason": ResetMode.FORGOTTEN.value},
    leftovers=False,
)
SYNCED = StatusGroup({"atproto.status": Status.SYNCED.value}, settled=True, leftovers=False)
PENDING = StatusGroup({"atproto.status": Status.PENDING.value})
FOREIGN = StatusGroup({"atproto.status": {"$nin": [None, *_KNOWN]}})
UNSEEN = StatusGroup({"atproto.status": None})


@dataclass(frozen=True, slots=True)
class OwnerCount:
    """The number of an owner's documents in a status group.

    `wanted` are to be published or, if they are hidden and left a record, to be removed; `hidden`
    counts the others by reason.
    """

    owner: str
    wanted: int
    hidden: Mapping[str, int]


class BackfillQueries:
    """Queries for the status groups of one database.

    All queries belong to one session of MongoDB, which ends after 30 minutes without a call.
    `on_invalid_id` is called with each `_id` that cannot be sent in a message; by default, its
    document is marked as failed.
    """

    def __init__(
        self,
        store: DocumentStore,
        on_invalid_id: Callable[[MediaType, object], None] | None = None,
    ) -> None:
        self._store = store
        self._on_invalid_id = on_invalid_id or store.mark_invalid_id
        self._session = store.client.start_session()
        self._kept_at = time.monotonic()

    def keep_alive(self) -> None:
        """Keep unfinished queries open, with a call every few minutes."""
        if time.monotonic() < self._kept_at + _KEEP_ALIVE:
            return
        self._kept_at = time.monotonic()
        with mongo_errors():
            self._store.client.admin.command("refreshSessions", [self._session.session_id])

    def owners(
        self, kind: MediaType, group: StatusGroup, owners: Sequence[str] | None = None
    ) -> Iterator[OwnerCount]:
        """Yield the owners in a status group, filtered by `owners` if given, with counts."""
        match = dict(group.match) | ({} if owners is None else self._of(*owners))
        index = group.index if owners is None else group.index_by_owner
        pipeline = [{"$match": match}, *self._counts(kind, group)]
        with require_index():
            query = partial(
                self._store.collection(kind).aggregate,
                pipeline,
                session=self._session,
                hint=dict(index),
                allowDiskUse=True,
            )
            for row in stream(query):
                rows = cast("list[dict[str, Any]]", row["counts"])
                counts = {each["reason"]: each["count"] for each in rows}
                wanted = counts.pop(None, 0)
                yield OwnerCount(str(row["_id"]), wanted, counts)

    def documents(
        self, kind: MediaType, group: StatusGroup, owner: str, due: datetime | None = None
    ) -> Iterator[DocumentId]:
        """Yield the ids of an owner's wanted documents in a status group, ascending.

        A document whose id does not fit into a message is passed to `on_invalid_id` instead. With
        `due`, documents with a later `retryAt` are left out.
        """
        match = dict(group.match) | self._of(owner)
        if due:
            match["$or"] = [{"atproto.retryAt": None}, {"atproto.retryAt": {"$lte": due}}]
        hiding = (rule.field for rule in kind.hidden_by)
        fields = dict.fromkeys((*hiding, "atproto.rkey"), 1)
        with require_index():
            found = self._store.collection(kind).find(match, fields, session=self._session)
            found = found.hint(list(group.index_by_owner))
            for raw in stream(partial(found.batch_size, _CHUNK)):
                if (group.leftovers and _names_record(raw)) or not kind.hidden_reason(raw):
                    if (known := as_document_id(raw["_id"])) is not None:
                        yield known
                    else:
                        self._on_invalid_id(kind, raw["_id"])

    def failed(self, kind: MediaType, codes: Sequence[str] = ()) -> Iterator[OwnedItem]:
        """Yield failed and partial items without a lease, filtered by `codes` if given."""
        match: RawDocument = {"atproto.status": {"$in": list(FAILED_STATUSES)}, **not_held()}
        for code in codes or (None,):
            coded = match if code is None else match | with_code(code)
            with require_index():
                found = self._store.collection(kind).find(coded, {"user": 1}).hint(TROUBLE)
                for raw in stream(partial(found.batch_size, _CHUNK)):
                    # Other ids do not fit into a message.
                    if as_document_id(raw["_id"]) is not None:
                        yield self._store.to_owned_item(kind, raw)

    def _of(self, *owners: str) -> dict[str, object]:
        guests = GUEST_USERS if self._store.guest_subject in owners else ()
        return {"user": {"$in": [*guests, *owners]}}

    def _counts(self, kind: MediaType, group: StatusGroup) -> list[dict[str, Any]]:
        """Return the stages that count documents by owner and reason; null: wanted."""
        named = {"$eq": [{"$type": "$atproto.rkey"}, "string"]} if group.leftovers else False
        # The first rule that applies gives the reason, as in `MediaType.hidden_reason`.
        hidden = [{"case": each.expression(), "then": each.reason} for each in kind.hidden_by]
        branches = [{"case": named, "then": None}, *hidden]
        reason = {"$switch": {"branches": branches, "default": None}}
        is_guest = {"$in": [{"$ifNull": ["$user", ""]}, [""]]}
        owner = {"$cond": [is_guest, self._store.guest_subject, "$user"]}
        by_reason = {"reason": "$_id.reason", "count": "$count"}
        return [
            {"$group": {"_id": {"owner": owner, "reason": reason}, "count": {"$sum": 1}}},
            {"$group": {"_id": "$_id.owner", "counts": {"$push": by_reason}}},
        ]


def _names_record(raw: RawDocument) -> bool:
    state = raw.get("atproto")
    return isinstance(state, dict) and isinstance(state.get("rkey"), str)
