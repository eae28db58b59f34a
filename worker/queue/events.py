"""Events for monitors such as Flower, which are dropped while Redis does not accept them.

Celery retries the heartbeat of a worker until it is sent, in the loop that receives messages. The
loop then stands still: it neither notices nor logs that its own connection is lost, and the worker
cannot be stopped. Celery also keeps all other events in memory until Redis accepts them.
Source: celery 5.7, `celery.worker.heartbeat.Heart._send` and `EventDispatcher._publish`.
"""

from __future__ import annotations

from typing import Any

from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher


class Dispatcher(EventDispatcher):
    """Sends each event once."""

    def _publish(self, event: Any, producer: Any, routing_key: str, **_retry: Any) -> None:
        super()._publish(event, producer, routing_key)  # type: ignore[misc]
        self._outbound_buffer.clear()  # type: ignore[attr-defined]


class WorkerEvents(Events):
    """Celery's events, with a dispatcher that does not block."""

    dispatcher_cls = "worker.queue.events:Dispatcher"
