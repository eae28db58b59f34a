"""Measure saves and fairness while more is waiting than can be done. Five minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bson import ObjectId

from bench.documents import Archive, await_synced, count_synced, insert, latencies
from bench.figures import Figure, Section, compare, milliseconds
from bench.harness import Author, Harness, open_harness
from bench.processes import wait_until
from bench.report import Report
from tests.messages import batch, call, fill
from worker.app import app
from worker.core.clock import now
from worker.queue.names import BULK, FRONT, LIVE, OVERFLOW, SWEEP, redis_list

_BATCH = 100
_LISTS = [redis_list(queue, place) for queue in (LIVE, SWEEP, BULK) for place in (FRONT, OVERFLOW)]


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of items and samples.

    `known` items are published before the measurement; `waiting` messages about them are queued.
    `flood` items of one account are queued before one of another.
    """

    known: int = 500
    waiting: int = 50_000
    flood: int = 10_000
    samples: int = 30


QUICK = Scale(known=50, waiting=200, flood=150, samples=2)


@dataclass(frozen=True, slots=True)
class Flood:
    """Saves moods, and fills the queues much faster than `enqueue` does."""

    harness: Harness
    archive: Archive
    author: Author
    other_author: Author

    def insert(self, author: Author, number: int, **state: object) -> list[ObjectId]:
        """Save moods of an author, with a state or without one."""
        extra = {"atproto": state} if state else {}
        moods = list(self.archive.texts([author], number))
        insert(self.harness, (replace(mood, raw=mood.raw | extra) for mood in moods))
        return [mood.id for mood in moods]

    def send(self, queue: str, items: Sequence[ObjectId], number: int) -> None:
        """Add messages about moods, which take turns."""
        ids = (str(items[n % len(items)]) for n in range(number))
        fill(self.harness.redis, queue, (call("mood", item) for item in ids))

    def save(self, author: Author, number: int) -> list[ObjectId]:
        """Save moods, with a message for each on `live`."""
        items = self.insert(author, number)
        self.send(LIVE, items, number)
        return items

    def save_in_batches(self, author: Author, number: int) -> list[ObjectId]:
        """Save moods, with a message for each hundred on `bulk`."""
        items = self.insert(author, number)
        ids = [str(item) for item in items]
        chunks = (ids[n : n + _BATCH] for n in range(0, number, _BATCH))
        messages = (batch("mood", author.subject, *chunk) for chunk in chunks)
        fill(self.harness.redis, BULK, messages)
        return items

    def save_as_due(self, author: Author, number: int) -> list[ObjectId]:
        """Save moods that are due for the next sweep."""
        return self.insert(author, number, status="pending", retryAt=now())

    def drain(self) -> None:
        """Empty the queues, and wait until no message is in flight."""
        self.harness.redis.delete(*_LISTS)
        wait_until(lambda: not self.harness.queues.lengths().in_flight, "the workers to be idle")
        self.harness.redis.delete(*_LISTS)


def measure(report: Report, *, quick: bool) -> None:
    """Measure all sections with the two workers of the Procfile."""
    scale = QUICK if quick else Scale()
    with (
        open_harness(report, quick=quick) as harness,
        harness.live_worker(),
        harness.bulk_worker(),
    ):
        author, other_author, *savers = harness.create_authors(4)
        flood = Flood(harness, Archive(), author, other_author)
        known = flood.save(author, scale.known)
        await_synced(harness, "mood", known)

        def save(number: int) -> list[float]:
            return latencies(harness, flood.archive, savers, number)

        save(8)
        idle = save(scale.samples)
        report.add(_saves(flood, known, idle, save, scale))
        report.add(_fairness(flood, scale))


def _saves(
    flood: Flood,
    known: Sequence[ObjectId],
    idle: Sequence[float],
    save: Callable[[int], list[float]],
    scale: Scale,
) -> Section:
    figures: list[Figure] = []
    for queue in (BULK, SWEEP):
        flood.send(queue, known, scale.waiting)
        samples = save(scale.samples)
        left = flood.harness.waiting_messages()
        figures += compare(f"with {left} left on {queue}", "ms", samples, "idle", idle)
        flood.drain()
    return Section(
        "saves",
        f"A save, with {scale.waiting} messages on another queue",
        f"{scale.samples} saves each, one at a time, from enqueue to the document's syncedAt.",
        figures,
    )


def _fairness(flood: Flood, scale: Scale) -> Section:
    return Section(
        "fairness",
        f"One account's first item, behind {scale.flood} of another's",
        "From the time that it is queued behind all of the others until it is published.",
        (
            *_first_item(flood, "saves on live", flood.save, scale.flood),
            *_first_item(flood, "batches on bulk", flood.save_in_batches, scale.flood),
            *_first_item(flood, "a sweep", flood.save_as_due, scale.flood, sweeps=True),
        ),
    )


def _first_item(
    flood: Flood,
    label: str,
    save: Callable[[Author, int], list[ObjectId]],
    number: int,
    *,
    sweeps: bool = False,
) -> Iterator[Figure]:
    def publish() -> None:
        items = save(flood.other_author, 1)
        if sweeps:
            app.submit("sweep", ())
        await_synced(flood.harness, "mood", items)

    alone = milliseconds(publish)
    many = save(flood.author, number)
    behind = milliseconds(publish)
    done = count_synced(flood.harness, "mood", many)
    yield Figure(f"{label}: behind {number}", behind, "ms", "alone", alone)
    yield Figure(f"{label}: of those done", done, "items", "of", number)
    flood.drain()
    flood.harness.services.storage.database["moods"].delete_many({"_id": {"$in": many}})
