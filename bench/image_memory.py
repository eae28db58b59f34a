"""What the worst images take of a worker's child: `python -m bench.image_memory [--quick]`.

Starts services of its own and a real worker, and publishes the images through it: each in a
child of its own, then batches of them. Prints the most memory that the child ever had resident
(VmHWM) beside the ceiling and beside a child that has done nothing; ends with 1 above the ceiling.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil

from bench.figures import Figure, Section
from bench.machine import machine_of
from bench.place import Place, open_place
from bench.processes import Worker, await_true
from bench.report import print_report
from bench.worst_images import WORST, noise
from worker.app import app
from worker.database.state import parse_state
from worker.queue.config import MAX_CHILD_MEMORY
from worker.queue.names import BULK

_PATIENCE = 600.0
_MB = 1_000_000
_BATCH = 50  # paintings of one message
_ENDED = frozenset({"synced", "partial", "failed"})
_QUICK = ("PNG with texts",)


def peak_of(child: psutil.Process) -> float:
    """Return the most memory that a process ever had resident, in megabytes."""
    lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
    kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return kibibytes * 1024 / _MB


class Studio:
    """Publishes images through a worker of one process, which is a new one for each."""

    def __init__(self, place: Place, worker: Worker) -> None:
        self._place = place
        self._worker = worker
        self._author = place.authors[0].subject
        self._number = 0

    def fresh_child(self) -> psutil.Process:
        """End the pool's process; return the next one when it is ready for work."""
        before = self._worker.children()
        for child in before:
            child.kill()
        await_true(lambda: bool(self._new(before)), _PATIENCE, "a new child")
        (child,) = self._new(before)
        self.publish([noise(16)])
        return child

    def publish(self, images: Sequence[bytes]) -> None:
        """Publish paintings with one message, and wait for the last; raises LookupError."""
        from tasks.sync import sync_batch, sync_media
        from worker.app import LostResult

        slugs = [self._store(image) for image in images]
        ids = [self._place.platform.save_painting(slug, self._author) for slug in slugs]
        names = list(map(str, ids))
        single = partial(sync_media.apply_async, ("painting", names[0]), queue=BULK)
        batch = partial(sync_batch.apply_async, ("painting", self._author, names), queue=BULK)
        send = single if len(ids) == 1 else batch
        await_true(lambda: not isinstance(send(), LostResult), _PATIENCE, "the queue")
        await_true(lambda: self._statuses(ids) <= _ENDED, _PATIENCE, "the paintings")
        if (found := self._errors(ids)) != {None}:
            raise LookupError(f"an image was not accepted: {found}")

    def _store(self, image: bytes) -> str:
        self._number += 1
        slug = f"worst-{self._number}"
        self._place.platform.store(f"{slug}.png", image, self._author)
        return slug

    def _statuses(self, ids: Sequence[object]) -> set[object]:
        states = self._place.platform.states("painting")
        return {states[item].get("status") for item in ids}

    def _errors(self, ids: Sequence[object]) -> set[str | None]:
        every = self._place.platform.states("painting")
        states = [parse_state(every[item]) for item in ids]
        return {state.error.message if state.error else None for state in states}

    def _new(self, before: Sequence[psutil.Process]) -> list[psutil.Process]:
        return [child for child in self._worker.children() if child not in before]


def measure(place: Place, *, quick: bool) -> Section:
    """Return the peaks of single images and of batches beside the ceiling, and the baseline."""
    # A child above the ceiling is replaced after its task, and its peak would be gone with it.
    options = ("-Q", BULK, "--concurrency", "1", "--max-memory-per-child", "9000000")
    with place.processes.worker("worker.app", *options) as worker:
        studio = Studio(place, worker)
        idle = peak_of(studio.fresh_child())
        figures = [Figure("a child that has published one small painting", idle, "MB")]
        for label, images in _jobs(quick=quick):
            sys.stderr.write(f"{label}\n")
            child = studio.fresh_child()
            studio.publish(images)
            ceiling = MAX_CHILD_MEMORY / _MB
            figures.append(Figure(label, peak_of(child), "MB", "ceiling", ceiling))
        app.close()
    return Section(
        "image memory",
        "The most memory of a worker's child, by the image that it published",
        "VmHWM of the child of a real worker, which is a new one each time; 1 MB is a million "
        "bytes. The images are at the limits of pixels and of 20 MiB.",
        tuple(figures),
    )


def _jobs(*, quick: bool) -> Iterator[tuple[str, list[bytes]]]:
    names = _QUICK if quick else tuple(WORST)
    for name in names:
        yield name, [WORST[name]()]
    worst = [WORST[name]() for name in (_QUICK if quick else names[:5])]
    count = 2 if quick else 16
    yield f"a batch of {count} of the worst", [worst[n % len(worst)] for n in range(count)]
    if not quick:
        small = [noise(700) for _ in range(_BATCH)]
        yield f"a batch of {_BATCH} with the largest thumbnails", small
        mixed = [worst[n % len(worst)] if n % 2 else small[n] for n in range(_BATCH)]
        yield f"a batch of {_BATCH}, half and half", mixed


def main() -> None:
    """Measure, print the table, and hold each peak against the ceiling."""
    parser = argparse.ArgumentParser(prog="python -m bench.image_memory", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few: does it work at all?")
    quick = parser.parse_args().quick
    with open_place(1) as place:
        os.environ.update(place.stack.environment)
        machine: Mapping[str, str] = machine_of(place)
        section = measure(place, quick=quick)
    print_report(sys.stdout, machine, [section])
    above = [figure.label for figure in section.figures if (figure.ratio or 0) > 1]
    sys.exit(f"above the ceiling: {', '.join(above)}" if above else 0)


if __name__ == "__main__":
    main()
