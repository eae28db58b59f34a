"""Count the published items per minute and per hour, from an index alone.

An item counts once, at its last sync. Each span is a count of index keys, which takes a third of
the time of scanning the documents (docs/figures.md); grouping the keys would take longer. Documents
are read only while a state is a list, left by an older program, that no run has corrected yet.
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
_INSTANT = timedelta(milliseconds=1)  # the resolution of MongoDB

Count = Callable[[datetime, datetime], int]


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers of items in consecutive spans of equal length."""

    step: timedelta
    starts: tuple[datetime, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def busiest(self) -> tuple[datetime, int]:
        """Return the start of the busiest span, the earliest of several, and its count."""
        most = max(self.counts)
        return self.starts[self.counts.index(most)], most

    @classmethod
    def until(cls, at: datetime, step: timedelta, length: int, count: Count) -> Self:
        """Count `length` spans; the last one contains `at` and ends there."""
        last, end = _cut(at, step), at + _INSTANT
        starts = tuple(last - step * back for back in reversed(range(length)))
        counts = tuple(count(start, min(start + step, end)) for start in starts)
        return cls(step, starts, counts)


@dataclass(frozen=True, slots=True)
class Throughput:
    """Items published in the last hour, by minute, and in the last day, by hour."""

    hour: Series
    day: Series


def throughput(store: DocumentStore, kinds: Iterable[MediaType], at: datetime) -> Throughput:
    """Count the items published until `at`; raises as ItemCounts does."""
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
    covered = {"_id": 0, "atproto.syncedAt": 1}  # answered by the index
    with require_index():
        found = store.collection(kind).find(_within(start, end), covered).hint(PUBLISHED)
        return any(found.limit(1))


def _within(start: datetime, end: datetime) -> RawDocument:
    return {"atproto.syncedAt": {"$gte": start, "$lt": end}}


def _cut(moment: datetime, step: timedelta) -> datetime:
    """Return the start of the minute or the hour that a time in UTC is in."""
    cut = moment.replace(second=0, microsecond=0)
    return cut if step == _MINUTE else cut.replace(minute=0)
