"""What must be true after a fault, found out from MongoDB, the repos and the queue themselves.

The expected records are derived in `expected.py`, apart from the engine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import redis

from tests.faults import expected
from tests.faults.expected import PdsReader
from tests.faults.stream import as_it_may_be
from tests.faults.verification import Verification
from tests.waiting import wait_for
from worker.dev.demo.platform import Platform
from worker.dev.demo.uploads import Person, UploadedItem

_LINGERING = 2.0
_QUEUES = ("live", "sweep", "bulk")


@dataclass(frozen=True, slots=True)
class Classification:
    """What is not as it should be, each named; an item is counted under the first that fits."""

    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    orphaned: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()

    @property
    def complaints(self) -> list[str]:
        """Return everything, a line each."""
        return [f"{name}: {what}" for name, found in asdict(self).items() for what in found]

    @property
    def counts(self) -> list[int]:
        """Return how many there are of each kind: lost, doubled, orphaned, wrong, stuck."""
        return [len(found) for found in asdict(self).values()]


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges items; `people` own all the repos there are."""

    platform: Platform
    reader: PdsReader
    queue: redis.Redis
    people: Sequence[Person]

    def unsettled(self, items: Sequence[UploadedItem]) -> list[str]:
        """Name the items whose documents do not say yet what they must, or that a run is at."""
        states = {name: self.platform.states(name) for name in expected.TYPES}
        return [
            f"{item.type} {item.id} says {_told(state)}"
            for item in items
            if (state := states[item.type].get(item.id, {})) is not None
            and not _is_settled(item, state)
        ]

    def waiting(self) -> list[str]:
        """Name what waits to be done: messages, those in hand, and removals."""
        lengths = {name: self.queue.llen(name) for name in _QUEUES}
        lengths["the hands of workers"] = self.queue.hlen("unacked")
        left = self.platform.database["atproto_removals"].count_documents({})
        messages = [f"{count} messages in {name}" for name, count in lengths.items() if count]
        return [*messages, *([f"{left} removals"] if left else [])]

    def verdict(self, items: Sequence[UploadedItem]) -> Classification:
        """Judge all items, their records and blobs, and everything else in the repos."""
        states = {name: self.platform.states(name) for name in expected.TYPES}
        as_is = [
            as_it_may_be(item, states[item.type].get(item.id, {}).get("status")) for item in items
        ]
        due = {str(item.id): item for item in as_is if item.is_published}
        there = self._records_by_ref()
        lost = sorted(due.keys() - there.keys())
        doubled = sorted(ref for ref in due if len(there.get(ref, ())) > 1)
        orphaned = [uri for ref, uris in there.items() if ref not in due for uri in uris]
        report = Verification(self.platform, self.reader, self.people).run(as_is)
        explained = {*lost, *doubled}
        accounted = {*orphaned, *(uri for ref in doubled for uri in there[ref])}
        strays = [stray for stray in report.strays if stray.split()[0] not in accounted]
        return Classification(
            lost=tuple(f"{due[ref].type} {ref}" for ref in lost),
            doubled=tuple(f"{ref}: {', '.join(there[ref])}" for ref in doubled),
            orphaned=tuple(orphaned),
            wrong=(*_faults(as_is, report.faults, explained), *strays),
            stuck=(*self.unsettled(items), *self._left_waiting()),
        )

    def _left_waiting(self) -> list[str]:
        """Name what goes on waiting: a sweep's own message comes and goes every second."""
        with suppress(AssertionError):
            wait_for(
                lambda: not self.waiting(), within=_LINGERING, what="an idle moment", every=0.1
            )
        return self.waiting()

    def _records_by_ref(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for person in self.people:
            for name in expected.TYPES:
                for record in self.reader.records(person.did or "", expected.nsid(name)):
                    found[str(record.value.get("ref"))].append(record.uri)
        return dict(found)


def _is_settled(item: UploadedItem, state: Mapping[str, object]) -> bool:
    right = as_it_may_be(item, state.get("status")).is_settled(dict(state))
    return right and "lease" not in state and "retryAt" not in state


def _told(state: Mapping[str, object]) -> str:
    """Return what a document tells of itself, for a person."""
    error = state.get("error")
    code = f" for {error.get('code')}" if isinstance(error, dict) else ""
    held = " and is held" if "lease" in state else ""
    return f"{state.get('status')}{code}{held}, next try {state.get('retryAt')}"


def _faults(
    items: Sequence[UploadedItem], faults: Sequence[Sequence[str]], explained: set[str]
) -> Iterator[str]:
    """Yield the items with a fault that nothing else explains."""
    for item, found in zip(items, faults, strict=True):
        if found and str(item.id) not in explained:
            yield f"{item.type} {item.id}: {'; '.join(found)}"
