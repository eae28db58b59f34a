"""Publish moods and paintings through workers, and by the raw calls: one at a time and many."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice, product

from bson import ObjectId

from bench.documents import Archive, Document, await_synced, insert, publish_save, times
from bench.figures import Figure, Section, Target, compare, milliseconds, percentile
from bench.harness import Author, Harness
from bench.processes import Process
from bench.raw import RawPds, publish, publishing_seconds, raw_item
from bench.usage import cpu_figures, cpu_seconds, difference
from worker.app import app

_MOST_OF_PUT = 2.2  # times a bare putRecord
_LEAST_OF_RAW = 0.75  # of the rate of the raw calls


@dataclass(frozen=True, slots=True)
class Kind:
    """What is published: its documents for some authors, and the name of its raw calls."""

    type: str
    label: str
    raw_calls: str
    documents: Callable[[Sequence[Author], int], Iterator[Document]]


@dataclass(frozen=True, slots=True)
class Pool:
    """How a worker runs its tasks: the name of Celery's pool, and the number of processes."""

    kind: str
    concurrency: int

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `celery worker`."""
        return ("--pool", self.kind, "--concurrency", str(self.concurrency))

    @property
    def queue(self) -> str:
        """The queue of its worker while it is compared with others."""
        return f"bench-{self.kind}-{self.concurrency}"

    def __str__(self) -> str:
        return f"{self.kind} {self.concurrency}"


_DEFAULT = Pool("prefork", 2 * (os.cpu_count() or 1))
_POOLS = (*(Pool("prefork", n) for n in (1, 2, 4, 8)), _DEFAULT, Pool("threads", 4))


def moods(archive: Archive) -> Kind:
    """Return moods, whose records have no blobs."""
    return Kind("mood", "mood", "putRecord", archive.texts)


def paintings(archive: Archive, label: str, pictures: Iterable[bytes]) -> Kind:
    """Return paintings of pictures."""
    remaining = iter(pictures)
    return Kind(
        "painting",
        label,
        "thumbnail + uploadBlob + putRecord",
        lambda authors, number: archive.paintings(authors, islice(remaining, number)),
    )


def measure_latency(
    harness: Harness, authors: Sequence[Author], kinds: Sequence[Kind], number: int, pool: Pool
) -> Section:
    """Publish one item at a time through the worker that runs, in turn with the raw calls."""
    warm_up = kinds[0].documents(authors, 2 * pool.concurrency)
    for document in warm_up:
        publish_save(harness, document)
    figures = [figure for kind in kinds for figure in _latency(harness, authors, kind, number)]
    return Section(
        "latency",
        "From enqueue to record",
        f"{number} items each, one at a time on an otherwise idle system, in turn with the raw "
        f"calls; worker: {pool}. The end is when the PDS has answered putRecord, by the "
        "document's syncedAt: cut to 1 ms, so 1 ms is added.",
        figures,
        [_latency_target(figures)],
    )


def _latency_target(figures: Sequence[Figure]) -> Target:
    """Return the target of the first figure, the median of moods."""
    meaning = f"{figures[0].label}, compared with {figures[0].beside}"
    return Target("mood_p50_vs_put", meaning, figures[0].ratio or 0.0, _MOST_OF_PUT)


def _latency(
    harness: Harness, authors: Sequence[Author], kind: Kind, number: int
) -> Iterator[Figure]:
    saves, raw = [], []
    with closing(RawPds(harness.pds_url)) as pds:
        own, others = (kind.documents(authors, number) for _ in range(2))
        for document, other in zip(own, others, strict=True):
            saves.append(publish_save(harness, document))
            item = raw_item(harness, other)
            raw.append(milliseconds(lambda item=item: publish(pds, item)))  # type: ignore[misc]
    published = [save.published for save in saves]
    yield from compare(kind.label, "ms", published, kind.raw_calls, raw)
    taken, whole = percentile([save.taken for save in saves], 50), percentile(published, 50)
    label = f"{kind.label}, until a worker has it"
    yield Figure(label, taken, "ms", f"{kind.label} p50", whole)


@dataclass(frozen=True, slots=True)
class Load:
    """What each pool publishes in each round: numbers of moods and of paintings.

    `pools` are compared, and the targets are those of `default`, one of them.
    """

    pools: Sequence[Pool] = tuple(dict.fromkeys(_POOLS))
    default: Pool = _DEFAULT
    rounds: int = 3
    moods: int = 120
    paintings: int = 24


@dataclass(slots=True)
class Crew:
    """A worker that publishes one kind of items from a queue of its own, in several rounds."""

    harness: Harness
    authors: Sequence[Author]
    pool: Pool
    worker: Process
    kind: Kind
    items: int = 0
    seconds: float = 0.0
    raw_seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    raw_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Items a second through the worker."""
        return self.items / self.seconds

    def publish(self, number: int) -> None:
        """Publish items through the worker, and then as many by bare processes."""
        documents = list(self.kind.documents(self.authors, number))
        insert(self.harness, documents)
        before = cpu_seconds(self.harness, self.worker)
        self.seconds += self._publish([document.id for document in documents])
        used = difference(cpu_seconds(self.harness, self.worker), before)
        self.cpu = {name: value + self.cpu.get(name, 0.0) for name, value in used.items()}
        self.items += number
        raw = [raw_item(self.harness, each) for each in self.kind.documents(self.authors, number)]
        before = cpu_seconds(self.harness)
        self.raw_seconds += publishing_seconds(self.harness.pds_url, raw, self.pool.concurrency)
        self.raw_cpu += difference(cpu_seconds(self.harness), before)["pds"]

    def _publish(self, ids: Sequence[ObjectId]) -> float:
        """Return the seconds from a full queue until the last item is published."""
        with self.worker.suspended():
            for item in ids:
                while not app.submit("sync_media", (self.kind.type, str(item)), self.pool.queue):
                    pass  # on a busy machine a producer's timeout may end
            start = datetime.now(UTC)
        await_synced(self.harness, self.kind.type, ids, every=0.2)
        states = self.harness.states(self.kind.type, {"_id": {"$in": ids}})
        return (max(times(states, "syncedAt")) - start).total_seconds()

    def figure(self) -> Figure:
        """Return the rate, compared with that of the bare processes."""
        beside = f"raw calls, {self.pool.concurrency} processes"
        label = f"{self.kind.label}s, {self.pool}"
        return Figure(label, self.rate, "items/s", beside, self.items / self.raw_seconds)

    def target(self) -> Target:
        """Return the target of the rate, compared with that of the bare processes."""
        figure = self.figure()
        key, meaning = f"{self.kind.label}s_vs_raw", f"{figure.label}, compared with raw calls"
        return Target(key, meaning, figure.ratio or 0.0, _LEAST_OF_RAW, at_least=True)

    def cpu_figures(self) -> list[Figure]:
        """Return the CPU time for an item, and that of the PDS compared with the raw calls."""
        label = f"CPU of a {self.kind.label}"
        pds, raw = (value / self.items * 1000 for value in (self.cpu["pds"], self.raw_cpu))
        again = Figure(f"{label}: pds, again", pds, "ms each", "pds, raw calls", raw)
        return [*cpu_figures(label, self.cpu, self.items), again]


def measure_throughput(
    harness: Harness, authors: Sequence[Author], mood: Kind, painting: Kind, load: Load
) -> Section:
    """Measure each pool.

    The pools take turns, so that a slow minute of the machine does not affect one of them alone.
    Threads are only compared: they have no time limits, which hostile images need.
    """
    crews: list[Crew] = []
    with ExitStack() as undo:
        for pool in load.pools:
            options = (*pool.options, "--queues", pool.queue)
            worker = undo.enter_context(harness.processes.worker(*options))
            crews += (Crew(harness, authors, pool, worker, kind) for kind in (mood, painting))
            Crew(harness, authors, pool, worker, mood).publish(2 * pool.concurrency + 1)
        for _, crew in product(range(load.rounds), crews):
            crew.publish(load.moods if crew.kind is mood else load.paintings)
    of_default = [crew for crew in crews if crew.pool == load.default]
    return Section(
        "throughput",
        "Throughput of sync_media with a full queue",
        f"{load.rounds} rounds through all pools of {load.moods} moods and {load.paintings} "
        f"paintings (16x16 to 1024x1024, no thumbnail cached) over {len(authors)} accounts. The "
        "worker is suspended while they are enqueued; the clock runs from then to the last "
        "document's syncedAt. Compared, in turn, with as many bare processes that only make "
        "thumbnails and call uploadBlob and putRecord. The CPU times and the targets are those of "
        f"{load.default}, the default.",
        (
            *(crew.figure() for crew in crews),
            *(figure for crew in of_default for figure in crew.cpu_figures()),
        ),
        [crew.target() for crew in of_default],
    )
