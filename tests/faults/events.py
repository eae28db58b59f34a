"""What workers report of their tasks: Celery's events, recorded while a block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from celery import Celery

from tests.waiting import wait_for

Events = list[dict[str, Any]]


@contextmanager
def task_events(redis_url: str) -> Iterator[Events]:
    """Record what all workers report until the block ends; the list grows meanwhile."""
    app = Celery("events", broker=redis_url, set_as_current=False)
    events: Events = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.append})
        capture = {"limit": None, "timeout": None, "wakeup": False}
        recording = Thread(target=receiver.capture, kwargs=capture, name="events")
        recording.start()
        try:
            wait_for(lambda: events, what="a first event")
            yield events
        finally:
            receiver.should_stop = True
            recording.join()
