"""How many items are in which state, counted from indexes alone: no document is read.

At a million documents of a type, on two cores: 0.7 s for the counts by status and of all, each a
count of index keys; and for what is grouped, 4 s per million documents that are pending, partial
or failed, and 1 s per million that are skipped or removed. With a tenth of each: a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from bson import MinKey
from pymongo.database import Database

from worker.core.documents import Status
from worker.core.fields import is_text
from worker.database.backlog import FAILED, NO_CODE, SKIPPED, TROUBLE
from worker.database.indexes import require_index
from worker.database.mongo import RawDocument, mongo_errors
from worker.database.removals import COLLECTION as REMOVALS
from worker.database.store import DocumentStore
from worker.media import MediaType

_EVERY: RawDocument = {"_id": {"$gte": MinKey()}}
_IN_TROUBLE = {"atproto.status": {"$in": [*FAILED, Status.PENDING]}}
_IS_SKIPPED = {"atproto.reason": {"$gte": ""}, "atproto.status": Status.SKIPPED}
_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)


def _if_date(path: str, otherwise: object) -> dict[str, object]:
    return {"$cond": [{"$eq": [{"$type": path}, "date"]}, path, otherwise]}


# An ObjectId tells when its document was saved, whatever date it bears; of others `when` does.
_SAVED = {
    "$cond": [
        {"$eq": [{"$type": "$_id"}, "objectId"]},
        {"$toDate": "$_id"},
        _if_date("$when", None),
    ]
}
_GROUPED = {
    "_id": {"status": "$atproto.status", "code": "$atproto.error.code"},
    "count": {"$sum": 1},
    "since": {"$min": _if_date("$atproto.syncedAt", _SAVED)},
}


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items there are, of one type or of several.

    `total` is all of them, those without a status as well. `errors` counts by error code and
    status: failed, partial, and pending, which is tried again by itself; `skipped` by reason.
    `oldest` is since when the pending item that has waited longest has not been right: since
    it was last known to be, or else since it was saved. None when nothing is pending.
    """

    total: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    errors: Counter[tuple[str, Status]] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    oldest: datetime | None = None

    @property
    def never(self) -> int:
        """Return how many have no status: no run has ever looked at them."""
        return max(0, self.total - self.statuses.total())  # items move while they are counted

    @property
    def codes(self) -> list[str]:
        """Return the error codes, those of most failures first."""
        worst = sorted(self.errors, key=lambda each: (each[1] not in FAILED, -self.errors[each]))
        return list(dict.fromkeys(code for code, _ in worst))

    def failed_with(self, code: str) -> int:
        """Return how many items are failed or partial for this reason."""
        return sum(self.errors[code, status] for status in FAILED)

    @classmethod
    def sum(cls, parts: Iterable[Self]) -> Self:
        """Return the counts of several types together."""
        counts = list(parts)
        return cls(
            total=sum(each.total for each in counts),
            statuses=sum((each.statuses for each in counts), Counter()),
            errors=sum((each.errors for each in counts), Counter()),
            skipped=sum((each.skipped for each in counts), Counter()),
            oldest=min((each.oldest for each in counts if each.oldest), default=None),
        )


@dataclass(frozen=True, slots=True)
class RemovalCounts:
    """Records of deleted documents that are still to be removed: tried again, or given up."""

    waiting: int
    given_up: int


@dataclass(frozen=True, slots=True)
class _Troubled:
    """The items of one status and error code."""

    status: Status
    code: str
    count: int
    since: datetime | None


class ItemCounts:
    """Counts over the documents of one database.

    All methods raise StoreUnavailableError, and IndexMissingError before they would go through a
    collection.
    """

    def __init__(self, database: Database[RawDocument], store: DocumentStore) -> None:
        self._removals = database[REMOVALS]
        self._store = store

    def counts(self, kind: MediaType) -> Counts:
        """Count the items of a type."""
        collection = self._store.collection(kind)
        troubled = self._count_troubled(kind)
        with mongo_errors():
            # Status by status: one array for an `atproto` anywhere, and to MongoDB an index no
            # longer tells the values to group by. Counting the keys goes on all the same.
            statuses = {
                status: collection.count_documents({"atproto.status": status}) for status in Status
            }
            total = collection.count_documents(_EVERY)
        waiting = [each.since for each in troubled if each.status is Status.PENDING and each.since]
        return Counts(
            total=total,
            statuses=Counter(statuses),
            errors=_by_code(troubled),
            skipped=self._count_skipped(kind),
            oldest=min(waiting, default=None),
        )

    def errors(self, kind: MediaType) -> Counts:
        """Count those items of a type that have an error, by code and status; no others."""
        return Counts(errors=_by_code(self._count_troubled(kind)))

    def removals(self) -> RemovalCounts:
        """Count the removals that are kept until they succeed."""
        with mongo_errors():
            waiting = self._removals.count_documents({"retryAt": {"$gte": _EARLIEST}})
            given_up = self._removals.count_documents({"retryAt": None})
        return RemovalCounts(waiting, given_up)

    def _count_troubled(self, kind: MediaType) -> list[_Troubled]:
        pipeline: list[dict[str, Any]] = [{"$match": _IN_TROUBLE}, {"$group": _GROUPED}]
        with require_index():
            found = self._store.collection(kind).aggregate(pipeline, hint=dict(TROUBLE))
            # Of an `atproto` that is a list MongoDB matches each part, and groups by all of them.
            return [group for group in map(_read, found) if group]

    def _count_skipped(self, kind: MediaType) -> Counter[str]:
        group = {"_id": "$atproto.reason", "count": {"$sum": 1}}
        pipeline: list[dict[str, Any]] = [{"$match": _IS_SKIPPED}, {"$group": group}]
        with require_index():
            found = list(self._store.collection(kind).aggregate(pipeline, hint=dict(SKIPPED)))
        return Counter({str(each["_id"]): int(str(each["count"])) for each in found})


def _by_code(troubled: Iterable[_Troubled]) -> Counter[tuple[str, Status]]:
    """Count by code and status; pending items without an error have merely not been tried."""
    counts: Counter[tuple[str, Status]] = Counter()
    for each in troubled:
        if each.code != NO_CODE or each.status in FAILED:
            counts[each.code, each.status] += each.count
    return counts


def _read(group: Mapping[str, Any]) -> _Troubled | None:
    code, since = group["_id"].get("code"), group["since"]
    if not is_text(group["_id"]["status"]):
        return None
    return _Troubled(
        status=Status(group["_id"]["status"]),
        code=code if is_text(code) else NO_CODE,
        count=int(group["count"]),
        since=since if isinstance(since, datetime) else None,
    )
