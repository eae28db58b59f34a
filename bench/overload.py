"""What happens when more is waiting than can be done: `python -m bench.overload [--quick]`.

Starts services of its own and the two workers of the Procfile. Prints each figure beside what it
is without the load, in the same run. Takes about five minutes; `--quick` only shows that it works.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bson import ObjectId

from bench.bulk.live import Saver
from bench.figures import Figure, Section, compared
from bench.flood import Flood, Peak, milliseconds, watched
from bench.machine import machine_of
from bench.place import BULK_NICENESS, Author, Place, open_place
from bench.processes import Worker, await_true
from bench.report import print_report
from tasks import enqueue
from worker.app import app
from worker.core.clock import now
from worker.queue.names import BULK, LIVE, SWEEP

_LIVE = ("-Q", "live,sweep", "--concurrency", "4")
_BULK = ("-Q", "bulk", "--concurrency", "4")
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of items and samples, and the workers' settings.

    `known` items are published before the measurement; `waiting` messages about them are queued.
    `flood` items of one account are queued before one of another; `failing` ones find no PDS.
    """

    known: int
    waiting: int
    flood: int
    samples: int
    failing: int
    settings: Mapping[str, str]
    bulk_niceness: int = BULK_NICENESS


FULL = Scale(known=500, waiting=50_000, flood=10_000, samples=30, failing=1500, settings={})
QUICK = Scale(
    known=50,
    waiting=200,
    flood=150,
    samples=2,
    failing=20,
    settings={"RETRY_BASE_SECONDS": "0.5", "RETRY_CEILING_SECONDS": "1"},
    bulk_niceness=0,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="does it work at all?")
    scale = QUICK if parser.parse_args(arguments).quick else FULL
    with open_place(4, settings=scale.settings, bulk_niceness=scale.bulk_niceness) as place:
        os.environ.update(place.stack.environment)
        live = place.processes.worker("worker.app", *_LIVE)
        bulk = place.processes.worker("worker.app", *_BULK, niceness=place.bulk_niceness)
        with live as first, bulk as second:
            for section in _measured(place, (first, second), scale):
                print_report(sys.stdout, machine_of(place), [section])
                sys.stdout.flush()


def _measured(place: Place, workers: Sequence[Worker], scale: Scale) -> Iterator[Section]:
    flood = Flood.of(place)
    ada, bob, *others = place.authors
    saver = Saver.of(place, others)
    saver.latencies(8)
    with watched(place, workers) as before:
        idle = saver.latencies(scale.samples)
    known = flood.documents(ada, scale.known)
    flood.saves(LIVE, known, len(known))
    await_true(lambda: flood.done(known) == len(known), 300, "documents to work on")
    yield _saves(flood, known, saver, idle, scale)
    yield _enqueueing(flood, known, scale)
    yield _others_first(flood, ada, bob, scale)
    yield _memory(flood, known, workers, before, scale)


def _saves(
    flood: Flood, known: Sequence[ObjectId], saver: Saver, idle: list[float], scale: Scale
) -> Section:
    figures: list[Figure] = []
    for queue in (BULK, SWEEP):
        flood.saves(queue, known, scale.waiting)
        taken = saver.latencies(scale.samples)
        left = flood.waiting()
        figures += compared(f"with {left} left on {queue}", "ms", taken, "idle", idle)
        flood.drain()
    title = f"A save, with {scale.waiting} messages on another queue"
    method = f"{scale.samples} saves each, one at a time, from enqueue to the document's syncedAt."
    return Section("saves", title, method, tuple(figures))


def _enqueueing(flood: Flood, known: Sequence[ObjectId], scale: Scale) -> Section:
    def samples() -> list[float]:
        ids = [str(known[n % len(known)]) for n in range(scale.samples * 20)]
        return [milliseconds(lambda each=each: enqueue("mood", each)) for each in ids]  # type: ignore[misc]

    samples()
    flood.drain()
    idle = samples()
    flood.saves(LIVE, known, scale.waiting)
    busy = samples()
    flood.drain()
    figures = compared(f"enqueue, {scale.waiting} waiting", "ms", busy, "none waiting", idle)
    method = f"{scale.samples * 20} calls each; workers are at it meanwhile."
    return Section("enqueue", "Enqueueing onto a long queue", method, figures)


def _others_first(flood: Flood, ada: Author, bob: Author, scale: Scale) -> Section:
    figures: list[Figure] = []
    ways: tuple[tuple[str, Callable[[Author, int], list[ObjectId]], Callable[[], object]], ...] = (
        ("saves on live", lambda who, n: _on_live(flood, who, n), lambda: None),
        ("batches on bulk", lambda who, n: _on_bulk(flood, who, n), lambda: None),
        ("a sweep", lambda who, n: _due(flood, who, n), _sweep),
    )
    for name, ask, afterwards in ways:
        alone = _first_of(flood, bob, ask, afterwards)
        many = ask(ada, scale.flood)
        behind = _first_of(flood, bob, ask, afterwards)
        before = flood.done(many)
        figures.append(Figure(f"{name}: behind {scale.flood}", behind, "ms", "alone", alone))
        figures.append(Figure(f"{name}: of those done", before, "items", "of", scale.flood))
        flood.drain()
        flood.place.services.database["moods"].delete_many({"_id": {"$in": many}})
    title = f"One account's first item, behind {scale.flood} of another's"
    method = "From the moment that it waits, behind all of the others, until it is published."
    return Section("fairness", title, method, tuple(figures))


def _first_of(
    flood: Flood,
    author: Author,
    ask: Callable[[Author, int], list[ObjectId]],
    afterwards: Callable[[], object],
) -> float:
    def publish() -> None:
        (item,) = ask(author, 1)
        afterwards()
        flood.await_done(item)

    return milliseconds(publish)


def _on_live(flood: Flood, author: Author, number: int) -> list[ObjectId]:
    items = flood.documents(author, number)
    flood.saves(LIVE, items, number)
    return items


def _on_bulk(flood: Flood, author: Author, number: int) -> list[ObjectId]:
    items = flood.documents(author, number)
    ids = [str(item) for item in items]
    parts = [ids[n : n + _BATCH] for n in range(0, number, _BATCH)]
    whose = ("mood", author.subject)
    flood.fill(BULK, (flood.message(BULK, "sync_batch", *whose, part) for part in parts))
    return items


def _due(flood: Flood, author: Author, number: int) -> list[ObjectId]:
    return flood.documents(author, number, status="pending", retryAt=now())


def _sweep() -> None:
    app.send_task("sweep", queue=LIVE)


def _memory(
    flood: Flood, known: Sequence[ObjectId], workers: Sequence[Worker], before: Peak, scale: Scale
) -> Section:
    place = flood.place
    with watched(place, workers) as during:
        flood.saves(LIVE, known, scale.waiting)
        flood.saves(BULK, known, scale.waiting)
        await_true(lambda: flood.waiting() < 1.98 * scale.waiting, 300, "some to be done")
    flood.drain()
    place.stack.pds.stop()
    with watched(place, workers) as failing:
        _on_live(flood, place.authors[0], scale.failing)
        await_true(lambda: not flood.waiting(), 900, "all to have failed")
    place.stack.pds.start()
    flood.drain()
    with watched(place, workers) as after:
        Saver.of(place, place.authors[1:]).latencies(5)
    peaks = {
        f"{2 * scale.waiting} waiting": during,
        f"{scale.failing} failing": failing,
        "after": after,
    }
    figures = [
        figure
        for name, peak in peaks.items()
        for figure in (
            Figure(f"{name}: parent RSS", peak.parent, "MiB", "before", before.parent),
            Figure(f"{name}: largest child RSS", peak.child, "MiB", "before", before.child),
            Figure(f"{name}: in hand", peak.in_hand, "messages", "bound", 500),
        )
    ]
    method = "The most that was seen, five times a second, of the workers' processes."
    return Section("memory", "Memory, and what workers have in hand", method, tuple(figures))


if __name__ == "__main__":
    main()
