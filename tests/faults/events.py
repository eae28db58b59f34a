"""What workers report of their tasks: Celery's events, recorded while a block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

from celery import Celery

from tests.waiting import wait_for

_PATIENCE = 60.0


@dataclass
class Events:
    """The events so far."""

    received: list[dict[str, Any]] = field(default_factory=list)

    def ids(self, kind: str) -> set[str]:
        """Return the ids of the tasks with an event of a kind, such as `task-succeeded`."""
        return {str(event["uuid"]) for event in self.received if event["type"] == kind}

    def errors(self, kind: type[Exception]) -> int:
        """Count the tasks that were retried or failed for an error of this type."""
        errors = (str(event.get("exception", "")) for event in self.received)
        return sum(error.startswith(kind.__name__) for error in errors)


@contextmanager
def task_events(redis_url: str) -> Iterator[Events]:
    """Record what all workers report until the block ends, from its start on."""
    app = Celery("events", broker=redis_url, set_as_current=False)
    events = Events()
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.received.append})
        capture = {"limit": None, "timeout": None, "wakeup": False}
        recording = Thread(target=receiver.capture, kwargs=capture, name="events")
        recording.start()
        try:
            wait_for(lambda: events.received, within=_PATIENCE, what="a first event")
            yield events
        finally:
            receiver.should_stop = True
            recording.join()
