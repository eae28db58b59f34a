"""The worker's transport: Celery's own for Redis, which gets over an acknowledgement that failed.

A task that ends while Redis is away cannot be acknowledged. The stock transport logs that and
goes on counting the message among those in hand, although the task is done. When all processes
were at work, there is room for no other message then: the worker never asks Redis for one again,
so it never finds out that its connection is gone either, and is idle until it is restarted.
Source: kombu 5.7, `kombu.transport.redis.QoS.ack` and `Message.ack_log_error`.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual


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


class ForgettingChannel(redis.Channel):
    """A channel of this transport."""

    QoS: Any = ForgettingQoS


class Transport(redis.Transport):
    """The transport, named in `broker_transport` by a worker."""

    Channel: Any = ForgettingChannel
