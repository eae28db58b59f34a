"""Backfills of few and of many documents: their memory, and what saves take meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from bench.bulk.crew import bulk_worker, live_worker
from bench.bulk.documents import Archive, Document, insert
from bench.bulk.live import Latencies, Saver, live_measured
from bench.bulk.painting import store_paintings
from bench.bulk.results import Measured
from bench.bulk.scale import Scale
from bench.bulk.terminal import Done, run
from bench.figures import Figure, Section
from bench.place import Author, Place
from bench.processes import await_true

_MOODS = ("backfill", "--type", "mood", "--wait")
_PAINTINGS = ("backfill", "--type", "painting", "--wait")
_STARTUP = 60.0
_FULL_BATCHES = 100  # moods of an account at least, so that few documents make no small batches


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was measured of memory and of saves, and whose account holds the most records."""

    measured: tuple[Measured, Measured]
    audited: Author


def measure_load(place: Place, archive: Archive, scale: Scale) -> Loaded:
    """Backfill few moods, then many and some paintings while moods are saved."""
    authors, audited = place.recruit("many", scale.accounts), place.recruit("audited", 1)
    few = _few(place, archive, authors, scale.few)
    insert(place, _many(archive, authors, audited, scale))
    with bulk_worker(place) as bulk, live_worker(place):
        saver = Saver.of(place, place.recruit("saver", 4))
        saver.latencies(4)
        idle = saver.latencies(scale.idle // 2)
        with _running(place, lambda: run(place, *_MOODS, watched=[bulk])) as moods:
            lone = saver.lone_latencies(scale.lone, moods.done)
            in_moods = saver.latencies(scale.busy, moods.done)
        store_paintings(place, archive, authors, scale.busy_paintings)
        with _running(place, lambda: run(place, *_PAINTINGS)) as paintings:
            in_paintings = saver.latencies(scale.busy, paintings.done)
        idle += saver.latencies(scale.idle // 2)
    latencies = Latencies(idle, in_moods, in_paintings, lone)
    memory = _memory(scale, few, moods.result())
    return Loaded((memory, live_measured(latencies)), audited[0])


def _few(place: Place, archive: Archive, authors: Sequence[Author], number: int) -> Done:
    accounts = authors[: max(1, number // _FULL_BATCHES)]
    insert(place, archive.moods(accounts, number))
    with bulk_worker(place) as worker:
        return run(place, *_MOODS, watched=[worker])


def _many(
    archive: Archive, authors: Sequence[Author], audited: Sequence[Author], scale: Scale
) -> Iterator[Document]:
    rest = archive.moods(authors, scale.many - scale.audited)
    return chain(archive.moods(audited, scale.audited), rest)


@contextmanager
def _running(place: Place, command: Callable[[], Done]) -> Iterator[Future[Done]]:
    """Run a command beside the block, which begins when a worker has work in hand."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(command)
        await_true(
            lambda: done.done() or bool(place.queue.hlen("unacked")), _STARTUP, "the backfill"
        )
        yield done
        done.result()


def _memory(scale: Scale, few: Done, many: Done) -> Measured:
    beside = f"with {scale.few} documents"
    figures = [
        Figure(name, peak, "MiB", beside, few.peaks[name]) for name, peak in many.peaks.items()
    ]
    section = Section(
        "memory",
        "Peak memory of a backfill",
        f"The most RSS (VmHWM) that `media-atproto backfill --wait` and the processes of the bulk "
        f"worker ever had, both freshly started, with {scale.few} moods and with {scale.many} over "
        f"{scale.accounts + 1} accounts, of which one has {scale.audited}.",
        tuple(figures),
    )
    growth = max(many.peaks[name] / few.peaks[name] for name in many.peaks)
    return Measured(section, {"rss_growth": growth})
