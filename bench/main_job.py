"""Measure the main job: what a save costs, and how fast a worker publishes. Four minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median

from bson import ObjectId

from bench.documents import Archive
from bench.figures import Figure, Section, compare, milliseconds
from bench.harness import Harness, open_harness
from bench.pictures import few_sizes, photograph, variations
from bench.processes import Process, wait_until
from bench.publishing import (
    Kind,
    Load,
    Pool,
    measure_latency,
    measure_throughput,
    moods,
    paintings,
)
from bench.report import Report
from tasks import enqueue
from worker.queue.names import LIVE

_MAX_ENQUEUE = 250.0  # ms; the promise of `enqueue`
_IDLE_TASKS = 100
_IMPORT = """
import os, time
def now():
    with open("/proc/self/statm") as pages:
        return time.process_time(), int(pages.read().split()[1]) * os.sysconf("SC_PAGESIZE")
before = now()
{statement}
after = now()
print([(after[0] - before[0]) * 1000, (after[1] - before[1]) / 2**20])
"""
_FIRST_CALL = """
import logging, time
from tasks import enqueue
logging.disable()
start = time.perf_counter()
enqueue("mood", "f" * 24)
print((time.perf_counter() - start) * 1000)
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of samples.

    `imports` and `first_calls` are fresh processes, `sides` the sizes of the paintings that are
    published one at a time.
    """

    authors: int = 20
    imports: int = 10
    calls: int = 2000
    failing_calls: int = 20
    first_calls: int = 5
    latencies: int = 100
    sides: Sequence[int] = (512, 1024)
    load: Load = field(default_factory=Load)


QUICK = Scale(
    authors=2,
    imports=1,
    calls=20,
    failing_calls=3,
    first_calls=1,
    latencies=2,
    sides=(64,),
    load=Load((Pool("prefork", 2),), Pool("prefork", 2), rounds=1, moods=10, paintings=8),
)


def measure(report: Report, *, quick: bool) -> None:
    """Measure all sections on the same services."""
    scale = QUICK if quick else Scale()
    archive = Archive()
    mood, mixed = moods(archive), paintings(archive, "painting", variations(few_sizes()))
    kinds = [mood, *(_painting(archive, side) for side in scale.sides)]
    with open_harness(report, quick=quick) as harness:
        authors = harness.create_authors(scale.authors)
        report.add(_imports(harness, scale))
        report.add(_enqueueing(harness, scale))
        report.add(measure_throughput(harness, authors, mood, mixed, scale.load))
        pool = scale.load.default
        with harness.processes.worker(*pool.options) as worker:
            report.add(measure_latency(harness, authors, kinds, scale.latencies, pool))
            report.add(_memory(harness, pool, worker))


def _painting(archive: Archive, side: int) -> Kind:
    picture = photograph(side, (side, side))
    return paintings(archive, f"painting {side}x{side}", variations([picture]))


def _imports(harness: Harness, scale: Scale) -> Section:
    statements = ("import tasks", "from celery import Celery; import kombu.transport.redis")
    rounds = [[_import(harness, each) for each in statements] for _ in range(scale.imports + 1)]
    ours, bare = zip(*rounds[1:], strict=True)
    (cpu, memory), (bare_cpu, bare_memory) = _medians(ours), _medians(bare)
    beside = "Celery and its Redis transport alone"
    return Section(
        "import",
        "import tasks",
        f"Median of {scale.imports} fresh processes each, in turn; bytecode is cached.",
        (
            Figure("CPU time", cpu, "ms", beside, bare_cpu),
            Figure("RSS added", memory, "MiB", beside, bare_memory),
        ),
    )


def _import(harness: Harness, statement: str) -> tuple[float, float]:
    cpu, memory = harness.processes.evaluate(_IMPORT.format(statement=statement))
    return float(cpu), float(memory)


def _medians(samples: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return median(cpu for cpu, _ in samples), median(memory for _, memory in samples)


def _enqueueing(harness: Harness, scale: Scale) -> Section:
    calls, raw = _beside_lpush(harness, scale.calls)
    valkey = harness.stack.valkey
    slowest = {"enqueue": max(calls), "first call of a process": _first_calls(harness, scale)}
    valkey.stop()
    slowest |= _without_redis(harness, scale, "Redis stopped")
    valkey.start()
    enqueue("mood", ObjectId())  # connects again
    valkey.freeze()
    slowest |= _without_redis(harness, scale, "Redis frozen")
    valkey.thaw()
    harness.redis.delete(LIVE)
    return Section(
        "enqueue",
        "Enqueueing",
        f"{scale.calls} calls in turn with a raw LPUSH of the same message; {scale.failing_calls} "
        "calls each with Redis stopped (connections are refused) and frozen (SIGSTOP); first "
        f"calls in {scale.first_calls} fresh processes each.",
        (
            *compare("enqueue", "ms", calls, "raw LPUSH", raw),
            *(
                Figure(f"{label} max", value, "ms", "bound", _MAX_ENQUEUE)
                for label, value in slowest.items()
            ),
        ),
    )


def _beside_lpush(harness: Harness, number: int) -> tuple[list[float], list[float]]:
    enqueue("mood", ObjectId())
    (message,) = harness.redis.lrange(LIVE, 0, 0)
    calls, raw = [], []
    for _ in range(number):
        calls.append(_enqueue())
        raw.append(milliseconds(lambda: harness.redis.lpush(LIVE, message)))
    return calls, raw


def _without_redis(harness: Harness, scale: Scale, label: str) -> Mapping[str, float]:
    calls = max(_enqueue() for _ in range(scale.failing_calls))
    return {label: calls, f"{label}, first call": _first_calls(harness, scale)}


def _first_calls(harness: Harness, scale: Scale) -> float:
    calls = [harness.processes.evaluate(_FIRST_CALL) for _ in range(scale.first_calls)]
    return float(max(calls))


def _enqueue() -> float:
    return milliseconds(lambda: enqueue("mood", ObjectId()))


def _memory(harness: Harness, pool: Pool, worker: Process) -> Section:
    """Compare a worker after its work with a Celery worker that does nothing."""
    worked, idle = _memory_of(worker), _idle_memory(harness, pool)
    beside = "a Celery worker that does nothing"
    return Section(
        "memory",
        f"Memory of a worker, {pool}",
        "RSS after the items that were published one at a time; PSS divides the memory that "
        f"processes share, so it can be added up. The other worker has run {_IDLE_TASKS} empty "
        "tasks.",
        [Figure(name, worked[name], "MiB", beside, idle[name]) for name in worked],
    )


def _idle_memory(harness: Harness, pool: Pool) -> Mapping[str, float]:
    from bench.idle import app, nothing

    options = (*pool.options, "--without-gossip")
    with harness.processes.worker(*options, app="bench.idle") as worker, closing(app):
        for _ in range(_IDLE_TASKS):
            nothing.apply_async()
        wait_until(lambda: not harness.redis.llen("idle"), "the empty tasks")
        return _memory_of(worker)


def _memory_of(worker: Process) -> Mapping[str, float]:
    parent, *children = (p.memory_full_info() for p in (worker.parent(), *worker.children()))
    return {
        "parent RSS": parent.rss / 2**20,
        "largest child RSS": max(child.rss for child in children) / 2**20,
        "all processes PSS": sum(info.pss for info in (parent, *children)) / 2**20,
    }
