"""How many items were published, minute by minute: counted from an index alone.

An item counts at the moment that it was last known to be right: one that was published twice
counts once, when it was last. Each span is a count of index keys, which takes a third of the time
of going through the documents (docs/figures.md); grouping the keys takes longer than that. Only
where an older program left a list in the place of a state, documents are read, until a run has put
that right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from worker.database.backlog import PUBLISHED
from worker.database.indexes import require_index
from worker.database.mongo import RawDocument
from worker.database.store import DocumentStore
from worker.media import MediaType

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
_INSTANT = timedelta(milliseconds=1)  # the least that MongoDB tells apart

Count = Callable[[datetime, datetime], int]


@dataclass(frozen=True, slots=True)
class Series:
    """Items in spans of equal length, without a gap; `starts` are the spans' beginnings."""

    step: timedelta
    starts: tuple[datetime, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Return how many items there are in all spans."""
        return sum(self.counts)

    @property
    def busiest(self) -> tuple[datetime, int]:
        """Return the span of the most items, the earliest of several, and how many those are."""
        most = max(self.counts)
        return self.starts[self.counts.index(most)], most

    @classmethod
    def until(cls, at: datetime, step: timedelta, length: int, count: Count) -> Self:
        """Count so many spans, the last of which is that of `at` and ends there."""
        last, end = _cut(at, step), at + _INSTANT
        starts = tuple(last - step * back for back in reversed(range(length)))
        counts = tuple(count(start, min(start + step, end)) for start in starts)
        return cls(step, starts, counts)


@dataclass(frozen=True, slots=True)
class Throughput:
    """What was published in the last hour, by minute, and in the last day, by hour."""

    hour: Series
    day: Series


def throughput(store: DocumentStore, kinds: Iterable[MediaType], at: datetime) -> Throughput:
    """Count what was published until a moment; raises as Overview does."""
    since = _cut(at, _HOUR) - 23 * _HOUR
    busy = [kind for kind in kinds if _is_any(store, kind, since, at + _INSTANT)]

    def count(start: datetime, end: datetime) -> int:
        return sum(_count(store, kind, start, end) for kind in busy)

    return Throughput(
        hour=Series.until(at, _MINUTE, 60, count), day=Series.until(at, _HOUR, 24, count)
    )


def _count(store: DocumentStore, kind: MediaType, start: datetime, end: datetime) -> int:
    with require_index():
        return store.collection(kind).count_documents(_within(start, end), hint=dict(PUBLISHED))


def _is_any(store: DocumentStore, kind: MediaType, start: datetime, end: datetime) -> bool:
    alone = {"_id": 0, "atproto.syncedAt": 1}
    with require_index():
        found = store.collection(kind).find(_within(start, end), alone).hint(PUBLISHED)
        return any(found.limit(1))


def _within(start: datetime, end: datetime) -> RawDocument:
    return {"atproto.syncedAt": {"$gte": start, "$lt": end}}


def _cut(moment: datetime, step: timedelta) -> datetime:
    """Return the beginning of the minute or the hour of a moment in UTC."""
    cut = moment.replace(second=0, microsecond=0)
    return cut if step == _MINUTE else cut.replace(minute=0)
