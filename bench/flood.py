"""More than can be done: messages by the ten thousand, documents to match, and who waits."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psutil
from bson import ObjectId

from bench.memory import memory_of
from bench.place import Author, Place
from bench.processes import Worker, await_true
from tasks import sync_media
from worker.core.clock import now
from worker.queue.names import BULK, FRONT, LIVE, OVERFLOW, SWEEP, redis_list

_AT_A_TIME = 5000
_PATIENCE = 300.0
_LISTS = [redis_list(queue, place) for queue in (LIVE, SWEEP, BULK) for place in (FRONT, OVERFLOW)]


@dataclass(frozen=True, slots=True)
class Flood:
    """Fills the queues of a place past all producers, who would take minutes."""

    place: Place
    template: dict[str, Any]

    @classmethod
    def of(cls, place: Place) -> Flood:
        """Return one whose messages are as Celery makes them."""
        sync_media.apply_async(("mood", "1"), queue="template")
        (raw,) = place.queue.lrange("template", 0, -1)
        place.queue.delete("template")
        return cls(place, json.loads(raw))

    def message(self, queue: str, task: str, *args: object) -> bytes:
        """Return a message to a task."""
        number = str(uuid4())
        body = base64.b64encode(json.dumps([args, {}, {}]).encode()).decode()
        route = {"exchange": queue, "routing_key": queue}
        properties = {"delivery_tag": number, "correlation_id": number, "delivery_info": route}
        headers = {"id": number, "root_id": number, "task": task, "timelimit": [None, None]}
        return json.dumps(
            self.template
            | {"body": body}
            | {"headers": self.template["headers"] | headers}
            | {"properties": self.template["properties"] | properties}
        ).encode()

    def fill(self, queue: str, messages: Iterable[bytes]) -> None:
        """Put messages on a queue, in this order."""
        every = list(messages)
        for start in range(0, len(every), _AT_A_TIME):
            self.place.queue.lpush(queue, *every[start : start + _AT_A_TIME])

    def saves(self, queue: str, items: Sequence[ObjectId], number: int) -> None:
        """Put so many messages on a queue, about moods in turn."""
        ids = (str(items[n % len(items)]) for n in range(number))
        self.fill(queue, (self.message(queue, "sync_media", "mood", each) for each in ids))

    def documents(self, author: Author, number: int, **state: object) -> list[ObjectId]:
        """Save so many moods of an author, with a state or unseen."""
        ids = [ObjectId() for _ in range(number)]
        told = {"atproto": state} if state else {}
        mood = {"mood": "one of many", "when": now(), "user": author.subject, **told}
        moods = self.place.services.database["moods"]
        moods.insert_many({"_id": each, **mood} for each in ids)
        return ids

    def done(self, items: Sequence[ObjectId]) -> int:
        """Count those of the items that are published."""
        match = {"_id": {"$in": list(items)}, "atproto.status": "synced"}
        return self.place.services.database["moods"].count_documents(match)

    def await_done(self, item: ObjectId) -> None:
        """Wait until an item is published."""
        await_true(lambda: self.done([item]) == 1, _PATIENCE, f"mood {item}")

    def waiting(self) -> int:
        """Count the messages that wait."""
        return sum(int(self.place.queue.llen(name)) for name in _LISTS)

    def drain(self) -> None:
        """Empty the queues, and wait until no worker has anything in hand."""
        queue = self.place.queue
        queue.delete(*_LISTS)
        await_true(lambda: not queue.hlen("unacked"), _PATIENCE, "the workers to be idle")
        queue.delete(*_LISTS)


@dataclass(slots=True)
class Peak:
    """The most that was seen, of workers' memory in MiB and of messages in hand."""

    parent: float = 0.0
    child: float = 0.0
    in_hand: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def watch(self, place: Place, workers: Sequence[Worker]) -> None:
        """Look again and again, until it is over."""
        while not self._over.wait(0.2):
            for worker in workers:
                with suppress(psutil.NoSuchProcess):  # a child that has done its thousand tasks
                    self._look(worker)
            self.in_hand = max(self.in_hand, int(place.queue.hlen("unacked")))

    def _look(self, worker: Worker) -> None:
        memory = memory_of(worker)
        self.parent = max(self.parent, memory.parent)
        self.child = max(self.child, memory.largest_child)

    def end(self) -> None:
        """Stop looking."""
        self._over.set()


@contextmanager
def watched(place: Place, workers: Sequence[Worker]) -> Iterator[Peak]:
    """Watch workers for as long as the block runs."""
    peak = Peak()
    thread = threading.Thread(target=peak.watch, args=(place, workers))
    thread.start()
    try:
        yield peak
    finally:
        peak.end()
        thread.join()


def milliseconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000
