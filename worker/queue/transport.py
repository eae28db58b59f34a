"""The worker's consumer and transport: Celery's own, without what would end or idle a worker.

The consumer takes no part in gossip and mingle. The transport drops messages that no worker can
take, and fills in what producers in other languages leave out.

A task that ends while Redis is away cannot be acknowledged. The stock transport logs that and
continues to count the message as in flight. When all processes were busy, there is no room for
another message; the worker never asks Redis again, so it never notices the lost connection, and
is idle until it is restarted.
Source: kombu 5.7, `kombu.transport.redis.QoS.ack` and `Message.ack_log_error`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.transport import redis, virtual

from worker.core.redis_errors import describe_error
from worker.queue.messages import InvalidMessage, TaskFunctions, fill_defaults, validate

TASK_FUNCTIONS = "task_functions"  # the transport option that names the tasks that there are

log = logging.getLogger(__name__)


class NonLeakingQoS(redis.QoS):
    """Counts no message as in hand whose task has ended.

    In Redis the message stays among the unacknowledged, and is delivered again when its time is
    up: to sync an item once more changes nothing.
    """

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message; raises the client's errors."""
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002
        """Reject a message; raises the client's errors."""
        try:
            super().reject(delivery_tag, requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)


class Channel(redis.Channel):
    """A channel that drops what no worker can take, with a line in the log.

    Redis has given the message away by then, so it does not come again.
    """

    QoS: Any = NonLeakingQoS

    def __init__(self, connection: Any, *args: Any, **kwargs: Any) -> None:
        # Read now: a channel that has lost its connection makes clients all the same.
        self._task_functions = connection.client.transport_options[TASK_FUNCTIONS]
        super().__init__(connection, *args, **kwargs)

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's
        client = super()._create_client(asynchronous)  # type: ignore[misc]
        client.set_response_callback("BRPOP", partial(accept, tasks=self._task_functions))
        return client


class Transport(redis.Transport):
    """A transport whose channels look at each message before Celery does."""

    Channel = Channel


def accept(
    answer: Sequence[bytes] | None, *, tasks: TaskFunctions, **_: object
) -> Sequence[bytes] | None:
    """Return the queue and the message that Redis gave; None when there is none to be taken."""
    if not answer:
        return None
    name = answer[0].decode(errors="replace")
    item = fill_defaults(answer[1], name)
    refused = validate(item, tasks)
    if not isinstance(refused, InvalidMessage):
        return [answer[0], item]
    log.error(
        "refused a message on %s: id %s, task %s: %s",
        ascii(name)[1:-1],
        refused.id,
        refused.task,
        refused.fault,
    )
    return None


class NoGossipConsumer(Consumer):
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
            said = describe_error(error.__cause__ or error)
            log.error("the queue cannot be reached: %s", said)  # noqa: TRY400
        return super().ensure_connected(conn)
