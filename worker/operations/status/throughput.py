"""Count the published items per minute and per hour, using an index only.

An item is counted once, when a run last wrote a new version of its record. A run that only confirms
the record, or fails, changes nothing, and a removed item is not counted.

Each span is counted by index keys, which takes a third of the time of scanning the documents
(docs/figures.md). Grouping the keys would take longer.
MongoDB reads documents only while an older program's state, saved as a list, is not corrected yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from worker.database.backlog import PUBLISHED
from worker.database.indexes import require_index
from worker.database.mongo import RawDocument, long_query
from worker.database.store import DocumentStore
from worker.media import MediaType

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
_INSTANT = timedelta(milliseconds=1)  # the resolution of MongoDB

Count = Callable[[datetime, datetime], int]


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers of items in consecutive time spans of length `step`."""

    step: timedelta
    starts: tuple[datetime, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def busiest(self) -> tuple[datetime, int]:
        """Return the start and the count of the busiest span; on a tie, the earliest."""
        most = max(self.counts)
        return self.starts[self.counts.index(most)], most

    @classmethod
    def until(cls, at: datetime, step: timedelta, length: int, count: Count) -> Self:
        """Build a series of `length` spans from `count`; the last span ends at `at`."""
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
    """Count the items published in the hour and in the day before `at`.

    Raises StoreUnavailableError, and PermanentError for a missing index.
    """
    since = _cut(at, _HOUR) - 23 * _HOUR
    busy = [kind for kind in kinds if _is_any(store, kind, since, at + _INSTANT)]

    def count(start: datetime, end: datetime) -> int:
        return sum(_count(store, kind, start, end) for kind in busy)

    return Throughput(
        hour=Series.until(at, _MINUTE, 60, count), day=Series.until(at, _HOUR, 24, count)
    )


def _count(store: DocumentStore, kind: MediaType, start: datetime, end: datetime) -> int:
    with require_index(), long_query():
        return store.collection(kind).count_documents(_within(start, end), hint=dict(PUBLISHED))


def _is_any(store: DocumentStore, kind: MediaType, start: datetime, end: datetime) -> bool:
    covered = {"_id": 0, "atproto.publishedAt": 1}  # so MongoDB reads only the index
    with require_index():
        found = store.collection(kind).find(_within(start, end), covered).hint(PUBLISHED)
        return any(found.limit(1))


def _within(start: datetime, end: datetime) -> RawDocument:
    return {"atproto.publishedAt": {"$gte": start, "$lt": end}}


def _cut(moment: datetime, step: timedelta) -> datetime:
    """Round a UTC time down to the minute or the hour."""
    cut = moment.replace(second=0, microsecond=0)
    return cut if step == _MINUTE else cut.replace(minute=0)
