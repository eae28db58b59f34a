"""The worker's transport: Celery's own for Redis, less what would end or idle a worker.

Messages that no worker can take are dropped; what producers in other languages leave out is filled
in. And a task that ends while Redis is away cannot be acknowledged: the stock transport logs that
and goes on counting the message among those in hand, although the task is done. When all processes
were at work, there is room for no other message then; the worker never asks Redis for one again, so
it never finds out that its connection is gone either, and is idle until it is restarted.
Source: kombu 5.7, `kombu.transport.redis.QoS.ack` and `Message.ack_log_error`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from kombu.transport import redis, virtual

from worker.queue.completion import completed
from worker.queue.messages import Refusal, TaskFunctions, read

TASK_FUNCTIONS = "task_functions"  # the transport option that names the tasks that there are

log = logging.getLogger(__name__)


class ForgettingQoS(redis.QoS):
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

    QoS: Any = ForgettingQoS

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's
        client = super()._create_client(asynchronous)  # type: ignore[misc]
        connection: Any = self.connection.client
        tasks = connection.transport_options[TASK_FUNCTIONS]
        client.set_response_callback("BRPOP", partial(accept, tasks=tasks))
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
    item = completed(answer[1], name)
    refused = read(item, tasks)
    if not isinstance(refused, Refusal):
        return [answer[0], item]
    log.error(
        "refused a message on %s: id %s, task %s: %s",
        ascii(name)[1:-1],
        refused.id,
        refused.task,
        refused.fault,
    )
    return None
