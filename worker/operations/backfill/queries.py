"""What a backfill is about: documents whose published state is not right, by owner and status.

Read from indexes, status by status and owner by owner, as streams: nothing here grows with the
number of documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from worker.core.documents import DocumentId, Status
from worker.core.ids import as_document_id
from worker.database.backlog import OWNER, SKIPPED
from worker.database.backlog import UNSEEN as UNSEEN_INDEX
from worker.database.mongo import RawDocument, mongo_errors
from worker.database.store import GUEST_USERS, DocumentStore
from worker.media import MediaType

_KNOWN = tuple(status.value for status in Status)
Index = tuple[tuple[str, int], ...]

_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class StatusGroup:
    """Documents in one kind of state: the match that finds them, and the indexes to use.

    `settled` tells that a document which is in it again was dealt with: to go on about it would
    never end. With `leftovers` a document that is gone but names a record has to be seen to.
    """

    name: str
    match: Mapping[str, object]
    settled: bool = False
    leftovers: bool = True
    index: Index = tuple(UNSEEN_INDEX)
    index_by_owner: Index = tuple(OWNER)


PARTIAL = StatusGroup("partial", {"atproto.status": Status.PARTIAL.value}, settled=True)
FAILED = StatusGroup("failed", {"atproto.status": Status.FAILED.value}, settled=True)
REMOVED = StatusGroup(
    "removed", {"atproto.status": Status.REMOVED.value}, settled=True, leftovers=False
)
NO_ACCOUNT = StatusGroup(
    "skipped",
    {"atproto.reason": "no_account", "atproto.status": Status.SKIPPED.value},
    settled=True,
    index=tuple(SKIPPED),
    index_by_owner=tuple(SKIPPED),
)
PENDING = StatusGroup("pending", {"atproto.status": Status.PENDING.value})
FOREIGN = StatusGroup("unknown", {"atproto.status": {"$nin": [None, *_KNOWN]}})
UNSEEN = StatusGroup("never published", {"atproto.status": None})


@dataclass(frozen=True, slots=True)
class OwnerCount:
    """How many documents an owner has in a status group.

    `wanted` are to be published or, where they are gone and left a record, to be removed; `gone`
    counts the others by what took them down.
    """

    owner: str
    wanted: int
    gone: Mapping[str, int]


class BackfillQueries:
    """Reads status groups of the documents of one database."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def owners(
        self, kind: MediaType, group: StatusGroup, owners: Sequence[str] | None = None
    ) -> Iterator[OwnerCount]:
        """Go through the owners of a status group's documents, or only these, with their counts."""
        match = dict(group.match) | ({} if owners is None else self._of(*owners))
        index = group.index if owners is None else group.index_by_owner
        pipeline = [{"$match": match}, {"$group": self._counts(kind, group)}]
        with mongo_errors():
            collection = self._store.collection(kind)
            for row in collection.aggregate(pipeline, hint=dict(index), allowDiskUse=True):
                counts = {name: cast("int", row[name]) for name in ("wanted", *kind.takedown_flags)}
                gone = {flag: counts[flag] for flag in kind.takedown_flags if counts[flag]}
                yield OwnerCount(str(row["_id"]), counts["wanted"], gone)

    def documents(
        self, kind: MediaType, group: StatusGroup, owner: str, due: datetime | None = None
    ) -> Iterator[DocumentId]:
        """Go through the ids of an owner's wanted documents of a status group, the lowest first.

        One that no message can name is given up instead.
        With `due` those that are to be tried later than that are left out.
        """
        match = dict(group.match) | self._of(owner)
        if due:
            match["$or"] = [{"atproto.retryAt": None}, {"atproto.retryAt": {"$lte": due}}]
        fields = dict.fromkeys((*kind.takedown_flags, "atproto.rkey"), 1)
        with mongo_errors():
            found = self._store.collection(kind).find(match, fields)
            for raw in found.hint(list(group.index_by_owner)).batch_size(_CHUNK):
                if (group.leftovers and _names_record(raw)) or not any(
                    map(raw.get, kind.takedown_flags)
                ):
                    if (known := as_document_id(raw["_id"])) is not None:
                        yield known
                    else:
                        self._store.mark_invalid_id(kind, raw["_id"])

    def _of(self, *owners: str) -> dict[str, object]:
        nobody = GUEST_USERS if self._store.guest_subject in owners else ()
        return {"user": {"$in": [*nobody, *owners]}}

    def _counts(self, kind: MediaType, group: StatusGroup) -> dict[str, Any]:
        """Return the grouping that counts documents by owner."""
        named = {"$eq": [{"$type": "$atproto.rkey"}, "string"]} if group.leftovers else False
        # The first flag that is set says why a document is gone, as for the store.
        why: Any = "wanted"
        for flag in reversed(kind.takedown_flags):
            why = {"$cond": [_is_set(flag), flag, why]}
        why = {"$cond": [named, "wanted", why]}
        is_nobodys = {"$in": [{"$ifNull": ["$user", ""]}, [""]]}
        owner = {"$cond": [is_nobodys, self._store.guest_subject, "$user"]}
        counts = {
            name: {"$sum": {"$cond": [{"$eq": [why, name]}, 1, 0]}}
            for name in ("wanted", *kind.takedown_flags)
        }
        return {"_id": owner, **counts}


def _names_record(raw: RawDocument) -> bool:
    state = raw.get("atproto")
    return isinstance(state, dict) and isinstance(state.get("rkey"), str)


def _is_set(field: str) -> dict[str, Any]:
    """Return the expression for what is true in Python."""
    return {"$not": {"$in": [{"$ifNull": [f"${field}", False]}, [False, 0, ""]]}}
