"""The workers as the Procfile starts them: one for saves, one for bulk work that gives way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.place import Place
from bench.processes import Worker


@contextmanager
def bulk_worker(place: Place) -> Iterator[Worker]:
    """Run the worker that takes batches."""
    niceness = place.bulk_niceness
    with place.processes.worker("worker.app", "--queues", "bulk", niceness=niceness) as worker:
        yield worker


@contextmanager
def live_worker(place: Place) -> Iterator[Worker]:
    """Run the worker that takes saves."""
    with place.processes.worker("worker.app", "--queues", "live,sweep") as worker:
        yield worker
