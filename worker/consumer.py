"""The worker's consumer: Celery's own, less its talk with other workers, and its trust in them."""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer
from kombu import Connection

from worker.transport import Transport


class LoneConsumer(Consumer):
    """A consumer that takes no part in gossip.

    With it, a worker of Celery 5.7 dies when a task ends while Redis is away, and nothing here
    needs workers to know of each other.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        options = kwargs.pop("worker_options", None) or {}
        alone = {**options, "without_gossip": True, "without_mingle": True}
        kwargs["worker_options"] = alone
        super().__init__(*args, **kwargs)

    def connection_for_read(self, heartbeat: float | None = None) -> Connection:
        """Return a connection to take messages from, whose transport looks at them first."""
        connection = self.app.connection_for_read(heartbeat=heartbeat)
        # Named in the settings, it would stand in for the URL's scheme, and with it for TLS.
        connection.get_transport_cls = lambda: Transport  # type: ignore[method-assign]
        return self.ensure_connected(connection)
