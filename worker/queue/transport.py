"""The worker's consumer and transport: those of Celery, with four changes.

The consumer disables gossip and mingle. The transport drops invalid messages, also when they are
delivered again, and adds fields that producers in other languages omit.

A command that Redis rejects, for example because it is read-only or out of memory, is handled like
a lost connection: the worker connects again until Redis accepts it. The original worker exits.
Source: celery 5.7, `celery.worker.consumer.Consumer.start`, which catches `connection_errors`.

A task that ends while Redis is down cannot be acknowledged. The original transport logs an error
and still counts the message as in flight. If all processes were busy, the prefetch limit stays
reached: the worker does not poll Redis, misses the lost connection, and is idle until a restart.
Source: kombu 5.7, `kombu.transport.redis.QoS.ack` and `Message.ack_log_error`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from typing import Any

from celery.worker.consumer import Consumer
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.transport import redis, virtual
from kombu.utils.json import dumps
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from worker.core.redis_errors import describe_error
from worker.queue.messages import InvalidMessage, TaskFunctions, fill_defaults, validate
from worker.telemetry import sentry

TASK_FUNCTIONS = "task_functions"  # the transport option that contains the task functions
# Redis that is out of memory delivers messages, but takes none from other commands.
# Source: https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags
_PUT_BACK = """#!lua flags=allow-oom
redis.call('RPUSH', KEYS[1], ARGV[1])
"""
_EVENTS_PAUSE = 0.25  # seconds between the messages to monitors
_REJECTED_PAUSE = 2.0  # seconds until the next attempt, after Redis has rejected a command

log = logging.getLogger(__name__)


class NonLeakingQoS(redis.QoS):
    """Stops counting a message as in flight if acknowledging it fails.

    The message stays unacknowledged in Redis. It is redelivered later, which is safe.
    """

    def append(self, message: Any, delivery_tag: str) -> None:
        """Accept a message also if Redis does not record it as unacknowledged.

        It is already removed from its list, so an error would lose it. If Redis is out of memory,
        the message is put back, and the error raised.
        """
        try:
            super().append(message, delivery_tag)
        except RedisError as error:
            if isinstance(error, OutOfMemoryError) and self._put_back(message):
                raise
            log.error("a message in flight is not saved: %s", describe_error(error))  # noqa: TRY400
            virtual.QoS.append(self, message, delivery_tag)

    def _put_back(self, message: Any) -> bool:
        """Return a message to its list; return whether this succeeded, as it does from Redis 7."""
        channel: Any = self.channel
        payload = message._raw
        priority = channel._get_message_priority(payload, reverse=False)
        name = channel._q_for_pri(message.delivery_info["routing_key"], priority)
        with channel.conn_or_acquire() as client, suppress(RedisError):
            client.register_script(_PUT_BACK)(keys=[name], args=[dumps(payload)])
            return True
        return False

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002
        try:
            super().reject(delivery_tag, requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002
        """Deliver a message again; drop one that is not JSON, which would block the others."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (ValueError, TypeError):
            log.error("dropped an unacknowledged message that cannot be read")  # noqa: TRY400
            channel: Any = self.channel
            with channel.conn_or_acquire(client) as redis_client:
                self._remove_from_indices(tag, redis_client.pipeline()).execute()  # type: ignore[attr-defined]


class Channel(redis.Channel):
    """Logs and drops invalid messages from Redis."""

    QoS: Any = NonLeakingQoS

    def __init__(self, connection: Any, *args: Any, **kwargs: Any) -> None:
        # Read now, because a channel may create clients after it has lost its connection.
        self._task_functions = connection.client.transport_options[TASK_FUNCTIONS]
        self._client: Any = None
        super().__init__(connection, *args, **kwargs)

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's
        if asynchronous:
            return self._new_client(asynchronous)
        # One client for all commands: creating one takes as long as a command.
        if self._client is None or self._client.connection_pool is not self.pool:
            self._client = self._new_client(asynchronous)
        return self._client

    def _new_client(self, asynchronous: bool) -> Any:  # noqa: FBT001
        client = super()._create_client(asynchronous)  # type: ignore[misc]
        client.set_response_callback("BRPOP", partial(accept, tasks=self._task_functions))
        return client


class Transport(redis.Transport):
    """The Redis transport, with a channel that validates messages."""

    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, ResponseError)


def accept(
    answer: Sequence[bytes] | None, *, tasks: TaskFunctions, **_: object
) -> Sequence[bytes] | None:
    """Return a BRPOP response with defaults added, or None if its message is invalid."""
    if not answer:
        return None
    name = answer[0].decode(errors="replace")
    item = fill_defaults(answer[1], name)
    call = validate(item, tasks)
    if not isinstance(call, InvalidMessage):
        return [answer[0], item]
    queue = ascii(name)[1:-1]
    log.error("refused a message on %s: id %s, task %s: %s", queue, call.id, call.task, call.fault)
    return None


class NoGossipConsumer(Consumer):
    """A consumer that uses `Transport`, without gossip and mingle.

    With them, a worker of Celery 5.7 stops if a task ends while Redis is unavailable.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        options = kwargs.pop("worker_options", None) or {}
        kwargs["worker_options"] = {**options, "without_gossip": True, "without_mingle": True}
        super().__init__(*args, **kwargs)
        self.connection_errors = Transport.connection_errors
        self._reported: set[str] = set()
        self._next_flush = 0.0

    def on_send_event_buffered(self) -> None:  # type: ignore[override]
        """Send the events of tasks together, a few times a second.

        Celery sends each one before the next message is given to a process.
        """
        consumer: Any = self  # the stub lacks these attributes
        if monotonic() >= self._next_flush:
            self._next_flush = monotonic() + _EVENTS_PAUSE
            consumer.hub.call_later(_EVENTS_PAUSE, consumer._flush_events)

    def shutdown(self) -> None:
        consumer: Any = self
        consumer._flush_events()
        super().shutdown()

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        if isinstance(exc, ResponseError):
            self._pause(exc)
        else:
            super().on_connection_error_before_connected(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, ResponseError):
            self._pause(exc)

    def _pause(self, error: ResponseError) -> None:
        """Wait after a rejected command, because Celery connects again at once.

        The first rejection of each kind is reported to Sentry.
        """
        advice = describe_error(error)
        log.error("the queue cannot be used: %s", advice)
        if advice not in self._reported:
            self._reported.add(advice)
            sentry.send_warning("queue", "redis_unavailable", advice)
        sleep(_REJECTED_PAUSE)

    def connection_for_read(self, heartbeat: float | None = None) -> Connection:
        """Open a connection that uses `Transport`."""
        app: Any = self.app
        connection = app.connection_for_read(heartbeat=heartbeat)
        # Set here: as a Celery setting it would replace the URL scheme, and disable TLS.
        connection.get_transport_cls = lambda: Transport
        connection.transport_options[TASK_FUNCTIONS] = app.task_functions()
        return self.ensure_connected(connection)

    def connection_for_write(
        self, url: str | None = None, heartbeat: float | None = None
    ) -> Connection:
        """Open a connection for events, which connects again once for each event."""
        connection: Connection = super().connection_for_write(url, heartbeat)
        connection.transport_options = {**(connection.transport_options or {}), "max_retries": 0}
        return connection

    def ensure_connected(self, conn: Connection) -> Connection:
        """Connect, with retries until it succeeds. Log advice on the first failure."""
        try:
            conn.ensure_connection(max_retries=0)
        except OperationalError as error:
            # Without the traceback, which does not show the cause. Celery logs each retry.
            advice = describe_error(error.__cause__ or error)
            log.error("the queue cannot be reached: %s", advice)  # noqa: TRY400
        return super().ensure_connected(conn)
