"""Measure the memory that the worst images take of a worker's child.

Publishes the images through a real worker: each in a new child, then batches of them. A peak above
the ceiling is a problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil

from bench.documents import Archive, await_synced, insert
from bench.figures import Figure, Section
from bench.harness import Author, Harness, open_harness
from bench.processes import Process, wait_until
from bench.report import Report
from bench.usage import peak_memory
from bench.worst_images import WORST, noise
from worker.app import app
from worker.queue.config import MAX_CHILD_MEMORY
from worker.queue.names import BULK

_MB = 1_000_000
_BATCH = 50  # paintings of one message


@dataclass(frozen=True, slots=True)
class Studio:
    """Publishes images through a worker of one process."""

    harness: Harness
    archive: Archive
    author: Author
    worker: Process

    def peak(self, images: Sequence[bytes]) -> float:
        """Return the peak in MB of a new child that has published a small image and these."""
        child = self._new_child()
        self._publish([noise(16)])
        if images:
            self._publish(images)
        return peak_memory(child) * 2**20 / _MB

    def _new_child(self) -> psutil.Process:
        before = self.worker.children()
        for child in before:
            child.kill()
        wait_until(lambda: set(self.worker.children()) - set(before) != set(), "a new child")
        (child,) = set(self.worker.children()) - set(before)
        return child

    def _publish(self, images: Sequence[bytes]) -> None:
        """Publish paintings with one message."""
        documents = list(self.archive.paintings([self.author], images))
        ids = [document.id for document in documents]
        names = [str(item) for item in ids]
        insert(self.harness, documents)
        one = len(names) == 1
        task = "sync_media" if one else "sync_batch"
        args = ("painting", names[0]) if one else ("painting", self.author.subject, names)
        wait_until(lambda: app.submit(task, args, BULK), "the queue")
        await_synced(self.harness, "painting", ids)


def measure(report: Report, *, quick: bool) -> None:
    """Measure single images and batches."""
    # A child above the ceiling is replaced after its task, and its peak would be lost.
    options = ("--concurrency", "1", "--max-memory-per-child", "9000000")
    with open_harness(report, quick=quick) as harness, harness.bulk_worker(*options) as worker:
        studio = Studio(harness, Archive(), harness.create_authors(1)[0], worker)
        report.add(_section(studio, quick=quick))


def _section(studio: Studio, *, quick: bool) -> Section:
    ceiling = MAX_CHILD_MEMORY / _MB
    figures = [Figure("a child that has published one small painting", studio.peak([]), "MB")]
    for label, images in _jobs(quick=quick):
        figures.append(Figure(label, studio.peak(images), "MB", "ceiling", ceiling))
    above = [figure.label for figure in figures if (figure.ratio or 0) > 1]
    return Section(
        "image memory",
        "The most memory of a worker's child, by the image that it published",
        "VmHWM of the child of a real worker, which is a new one each time; 1 MB is a million "
        "bytes. The images are at the limits of pixels and of 20 MiB.",
        figures,
        problems=[f"above the ceiling: {label}" for label in above],
    )


def _jobs(*, quick: bool) -> Iterator[tuple[str, list[bytes]]]:
    names = ["PNG with texts"] if quick else list(WORST)
    for name in names:
        yield name, [WORST[name]()]
    worst = [WORST[name]() for name in names[:5]]
    count = 2 if quick else 16
    yield f"a batch of {count} of the worst", [worst[n % len(worst)] for n in range(count)]
    if not quick:
        small = [noise(511) for _ in range(_BATCH)]
        yield f"a batch of {_BATCH} with the largest thumbnails", small
        mixed = [worst[n % len(worst)] if n % 2 else small[n] for n in range(_BATCH)]
        yield f"a batch of {_BATCH}, half and half", mixed
