"""How many items were published, minute by minute: counted from an index alone.

An item counts at the moment that it was last known to be right: one that was published twice
counts once, when it was last. At a million documents that were all published within the day it
takes the time to read a million index keys; see docs/figures.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from worker.backlog import PUBLISHED
from worker.media import MediaType
from worker.overview.hints import indexed
from worker.store import Store

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
# Of an `atproto` that is a list MongoDB matches each part, and gives all of them.
_IS_MOMENT = {"$eq": [{"$type": "$atproto.syncedAt"}, "date"]}
_MINUTE_OF = {"$dateTrunc": {"date": "$atproto.syncedAt", "unit": "minute"}}
_PER_MINUTE = {"_id": {"$cond": [_IS_MOMENT, _MINUTE_OF, None]}, "count": {"$sum": 1}}


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
    def until(
        cls, end: datetime, step: timedelta, length: int, minutes: Mapping[datetime, int]
    ) -> Self:
        """Put counts by minute into so many spans, the last of which is the one of `end`."""
        last = _cut(end, step)
        starts = tuple(last - step * back for back in reversed(range(length)))
        counts: Counter[datetime] = Counter()
        for minute, count in minutes.items():
            counts[_cut(minute, step)] += count
        return cls(step, starts, tuple(counts[start] for start in starts))


@dataclass(frozen=True, slots=True)
class Throughput:
    """What was published in the last hour, by minute, and in the last day, by hour."""

    hour: Series
    day: Series


def throughput(store: Store, kinds: Iterable[MediaType], at: datetime) -> Throughput:
    """Count what was published until a moment; raises as Overview does."""
    since = _cut(at, _HOUR) - 23 * _HOUR
    minutes: Counter[datetime] = Counter()
    for kind in kinds:
        minutes.update(_by_minute(store, kind, since, at))
    return Throughput(
        hour=Series.until(at, _MINUTE, 60, minutes), day=Series.until(at, _HOUR, 24, minutes)
    )


def _by_minute(
    store: Store, kind: MediaType, since: datetime, until: datetime
) -> dict[datetime, int]:
    pipeline: Sequence[dict[str, Any]] = [
        {"$match": {"atproto.syncedAt": {"$gte": since, "$lte": until}}},
        {"$group": _PER_MINUTE},
    ]
    with indexed():
        found: Iterable[dict[str, Any]]
        found = store.collection(kind).aggregate(pipeline, hint=dict(PUBLISHED))
        return {
            group["_id"]: int(group["count"])
            for group in found
            if isinstance(group["_id"], datetime)
        }


def _cut(moment: datetime, step: timedelta) -> datetime:
    """Return the beginning of the minute or the hour of a moment in UTC."""
    cut = moment.replace(second=0, microsecond=0)
    return cut if step == _MINUTE else cut.replace(minute=0)
