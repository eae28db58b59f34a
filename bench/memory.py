"""What a worker takes of the memory, beside one that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.figures import Figure, Section
from bench.place import Place
from bench.processes import Worker, await_true
from bench.scale import Pool

_PATIENCE = 60.0
_STEPS = {
    "Celery and its Redis transport": (
        "celery.apps.worker",
        "celery.concurrency.prefork",
        "kombu.transport.redis",
    ),
    "and the clients, and Pillow": (
        "pymongo",
        "redis",
        "httpx",
        "libipld",
        "cryptography.fernet",
        "PIL.PngImagePlugin",
    ),
    "and the atproto SDK": ("atproto",),
}
_SCRIPT = """
import importlib, json, os
def rss():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
sizes = {{}}
for step, modules in {steps!r}.items():
    for module in modules:
        importlib.import_module(module)
    sizes[step] = rss()
print(json.dumps(sizes))
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB. `pss` shares out what processes have in common, so it adds up; RSS does not."""

    parent: float
    children: tuple[float, ...]
    pss: float

    @property
    def largest_child(self) -> float:
        """The RSS of the largest of the pool's processes, 0 when there are none."""
        return max(self.children, default=0.0)


def memory_of(worker: Worker) -> Memory:
    """Return what a worker's processes have now."""
    parent, *children = (p.memory_full_info() for p in (worker.parent(), *worker.children()))
    every = (parent, *children)
    return Memory(
        parent=parent.rss / 2**20,
        children=tuple(child.rss / 2**20 for child in children),
        pss=sum(info.pss for info in every) / 2**20,
    )


def measure_memory(place: Place, pool: Pool, worked: Memory) -> Section:
    """Hold what a worker had after its work against workers and processes that do nothing."""
    bare = _bare_worker(place, pool)
    imports: Mapping[str, float] = place.processes.evaluate(_SCRIPT.format(steps=_STEPS))
    beside = "a Celery worker that does nothing"
    return Section(
        "memory",
        f"Memory of a worker, {pool}",
        "RSS after the items that were published one at a time; PSS shares out what processes "
        "have in common, so it adds up. The other worker has run 100 empty tasks. Imports: RSS of "
        "a process that does no more, step by step.",
        (
            Figure("parent RSS", worked.parent, "MiB", beside, bare.parent),
            Figure("largest child RSS", worked.largest_child, "MiB", beside, bare.largest_child),
            Figure("all processes PSS", worked.pss, "MiB", beside, bare.pss),
            *(
                Figure(f"imports: {label}", size, "MiB", "parent RSS", worked.parent)
                for label, size in imports.items()
            ),
        ),
    )


def _bare_worker(place: Place, pool: Pool) -> Memory:
    from bench.idle import app, nothing

    with place.processes.worker("bench.idle", *pool.options, "--without-gossip") as worker:
        for _ in range(100):
            nothing.apply_async()
        await_true(lambda: not place.queue.llen("idle"), _PATIENCE, "the idle queue to drain")
        app.close()
        return memory_of(worker)
