"""A worker with a queue of its own: filled, worked off, and what that took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil
from bson import ObjectId

from bench.place import Place
from bench.processes import Worker, await_true
from bench.scale import Pool
from tasks import sync_media
from worker.app import LostResult
from worker.media import media_type

_PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Drained:
    """A queue that was worked off: seconds from the first message, CPU seconds by process."""

    seconds: float
    cpu: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Crew:
    """A worker with a pool, which takes messages from no other queue than its own."""

    place: Place
    pool: Pool
    worker: Worker
    queue: str

    def publish(self, type_name: str, ids: Sequence[ObjectId]) -> Drained:
        """Fill the queue with items and wait until it is empty; nothing asks the PDS meanwhile."""
        before, start = self._cpu_seconds(), datetime.now(UTC)
        for item in ids:
            self._send(type_name, item)
        await_published(self.place, self.queue, type_name, ids)
        after = self._cpu_seconds()
        seconds = (_last_published(self.place, type_name, ids) - start).total_seconds()
        return Drained(seconds, {name: after[name] - before[name] for name in after})

    def _send(self, type_name: str, item: ObjectId) -> None:
        message = (type_name, str(item))
        # On a busy machine a producer's patience of 0.1 seconds may run out.
        while isinstance(sync_media.apply_async(message, queue=self.queue), LostResult):
            pass

    def _cpu_seconds(self) -> Mapping[str, float]:
        servers = {name: cpu_seconds([process]) for name, process in self.place.servers().items()}
        worker = {"worker, parent": cpu_seconds([self.worker.parent()])}
        return servers | worker | {"worker, pool": cpu_seconds(self.worker.children())}


@contextmanager
def open_crew(place: Place, pool: Pool) -> Iterator[Crew]:
    """Start a worker; its queue is named after its pool."""
    queue = f"bench-{pool.kind}-{pool.concurrency}"
    with place.processes.worker("worker.app", *pool.options, "--queues", queue) as worker:
        yield Crew(place, pool, worker, queue)


def await_published(place: Place, queue: str, type_name: str, ids: Sequence[ObjectId]) -> None:
    """Wait until items are published, no message waits, and none is in a worker's hands.

    All three, because for a moment a message is neither on the queue nor in anyone's hands.
    """
    documents = place.services.database[media_type(type_name).collection]
    synced = {"_id": {"$in": ids}, "atproto.status": "synced"}

    def is_idle() -> bool:
        if place.queue.llen(queue) or place.queue.hlen("unacked"):
            return False
        return documents.count_documents(synced) == len(ids)

    await_true(is_idle, _PATIENCE, f"every {type_name} to be published")


def _last_published(place: Place, type_name: str, ids: Sequence[ObjectId]) -> datetime:
    """Return when the last of the items was published, by the documents' own word."""
    states = place.platform.states(type_name)
    times = [states[item].get("syncedAt") for item in ids]
    return max(time for time in times if isinstance(time, datetime))


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU time that processes have used so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)
