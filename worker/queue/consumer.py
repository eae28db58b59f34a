"""The worker's consumer: Celery's own, less its talk with other workers, and its trust in them."""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.consumer import Consumer
from kombu import Connection
from kombu.exceptions import OperationalError

from worker.core.redis_errors import meaning
from worker.queue.transport import TASK_FUNCTIONS, Transport

log = logging.getLogger(__name__)


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
        app: Any = self.app
        connection = app.connection_for_read(heartbeat=heartbeat)
        # Named in the settings, it would stand in for the URL's scheme, and with it for TLS.
        connection.get_transport_cls = lambda: Transport
        connection.transport_options[TASK_FUNCTIONS] = app.task_functions
        return self.ensure_connected(connection)

    def ensure_connected(self, conn: Connection) -> Connection:
        """Connect, trying until it succeeds; say first what is wrong if a person has to act."""
        try:
            conn.ensure_connection(max_retries=0)
        except OperationalError as error:
            # Without the traceback: what is wrong is elsewhere, and Celery goes on saying so.
            said = meaning(error.__cause__ or error)
            log.error("the queue cannot be reached: %s", said)  # noqa: TRY400
        return super().ensure_connected(conn)
