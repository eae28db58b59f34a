"""Items a second with a full queue, by the pool of the worker, beside the raw calls."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from statistics import fmean

from bench.crowd import publishing_seconds, thumbnail_seconds
from bench.figures import Figure, Section
from bench.items import Subject, in_turn, mood, painting
from bench.pictures import Album, mixed
from bench.place import Place
from bench.queues import Crew, Drained, cpu_seconds, open_crew
from bench.scale import Pool, Scale


@dataclass(frozen=True, slots=True)
class Rates:
    """Items a second, and CPU ms an item by process; `raw` and `raw_pds` are of the raw calls."""

    worker: float
    raw: float
    cpu: Mapping[str, float]
    raw_pds: float


@dataclass(frozen=True, slots=True)
class PoolRun:
    """What one pool achieved in all rounds."""

    pool: Pool
    moods: Rates
    paintings: Rates

    @property
    def merit(self) -> float:
        """What the best pool has most of: moods a second times paintings a second."""
        return self.moods.worker * self.paintings.worker


def measure_throughput(place: Place, scale: Scale) -> tuple[Section, Pool]:
    """Measure every pool; return the figures, and the best pool of processes.

    Threads are there to compare: they know no time limits, which hostile images call for.
    """
    before = _thumbnail_rate(scale)
    runs = _runs(place, scale)
    thumbnails = fmean([before, _thumbnail_rate(scale)])
    best = max((run for run in runs if run.pool.kind == "prefork"), key=lambda run: run.merit)
    alone = f"thumbnails alone, {os.cpu_count()} processes"
    rate = best.paintings.worker
    section = Section(
        "throughput",
        "Throughput of sync_media with a full queue",
        f"{scale.rounds} rounds through all pools of {scale.moods} moods and {scale.paintings} "
        f"paintings (16x16 to 1024x1024, no thumbnail cached) over {scale.authors} accounts, from "
        "the first message to the last document's syncedAt. Beside it, in turn: as many bare "
        "processes, with sessions and JSON ready, that do nothing but make thumbnails, "
        f"uploadBlob and putRecord. CPU is that of {best.pool}, which did best.",
        (
            *(figure for run in runs for figure in _rates(run)),
            Figure(f"best paintings, {best.pool}", rate, "items/s", alone, thumbnails),
            *_cpu("mood", best.moods),
            *_cpu("painting", best.paintings),
        ),
    )
    return section, best.pool


def _thumbnail_rate(scale: Scale) -> float:
    album = Album(mixed())
    pictures = [album.next() for _ in range(scale.paintings)]
    return len(pictures) / thumbnail_seconds(pictures, os.cpu_count() or 1)


def _runs(place: Place, scale: Scale) -> list[PoolRun]:
    """Let the pools take turns, so that no slow minute of the machine hits one of them alone."""
    moods, paintings = mood(place), painting(place, "painting", mixed())
    rounds: dict[tuple[Pool, Subject], list[_Round]] = defaultdict(list)
    with ExitStack() as undo:
        crews = [undo.enter_context(open_crew(place, pool)) for pool in scale.pools]
        for crew in crews:
            _round(crew, moods, scale.warm_up * crew.pool.concurrency + 1)
        for _, crew in product(range(scale.rounds), crews):
            rounds[crew.pool, moods].append(_round(crew, moods, scale.moods))
            rounds[crew.pool, paintings].append(_round(crew, paintings, scale.paintings))
    return [
        PoolRun(pool, _total(rounds[pool, moods]), _total(rounds[pool, paintings]))
        for pool in scale.pools
    ]


@dataclass(frozen=True, slots=True)
class _Round:
    items: int
    drained: Drained
    raw_seconds: float
    raw_pds: float


def _round(crew: Crew, subject: Subject, number: int) -> _Round:
    """Have a worker publish items, and then as many bare processes as many items."""
    place = crew.place
    drained = crew.publish(subject.type, [subject.save(a) for a in in_turn(place, number)])
    jobs = [subject.job(author) for author in in_turn(place, number)]
    before = cpu_seconds([place.servers()["pds"]])
    raw_seconds = publishing_seconds(place.pds_url, jobs, crew.pool.concurrency)
    raw_pds = cpu_seconds([place.servers()["pds"]]) - before
    return _Round(number, drained, raw_seconds, raw_pds)


def _total(rounds: Sequence[_Round]) -> Rates:
    items = sum(one.items for one in rounds)
    names = rounds[0].drained.cpu
    cpu = {name: sum(one.drained.cpu[name] for one in rounds) / items * 1000 for name in names}
    return Rates(
        worker=items / sum(one.drained.seconds for one in rounds),
        raw=items / sum(one.raw_seconds for one in rounds),
        cpu=cpu,
        raw_pds=sum(one.raw_pds for one in rounds) / items * 1000,
    )


def _rates(run: PoolRun) -> list[Figure]:
    beside = f"raw calls, {run.pool.concurrency} processes"
    moods, paintings = run.moods, run.paintings
    return [
        Figure(f"moods, {run.pool}", moods.worker, "items/s", beside, moods.raw),
        Figure(f"paintings, {run.pool}", paintings.worker, "items/s", beside, paintings.raw),
    ]


def _cpu(item: str, rates: Rates) -> list[Figure]:
    total = sum(rates.cpu.values())
    shares = [
        Figure(f"CPU of a {item}: {name}", used, "ms", "all processes", total)
        for name, used in rates.cpu.items()
    ]
    pds, raw = rates.cpu["pds"], rates.raw_pds
    return [*shares, Figure(f"CPU of a {item}: pds, again", pds, "ms", "pds, raw calls", raw)]
