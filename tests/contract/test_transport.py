"""The worker's transport: a task that ends while Redis is away leaves room for the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import pytest
from kombu import Connection, Message, Queue
from redis import Redis
from redis._parsers import BaseParser
from redis.exceptions import OutOfMemoryError

from tasks.sync import sync_media
from tests.message_samples import SHORT
from tests.redis_incidents import INCIDENTS, during
from tests.waiting import wait_for
from worker.app import LostResult, app
from worker.dev.stack import Stack
from worker.queue.names import FRONT, OVERFLOW, redis_list
from worker.queue.transport import TASK_FUNCTIONS, Transport

_QUEUE = Queue("transport")


def connect(url: str) -> Connection:
    """Return a connection as a worker's consumer has it."""
    options = {TASK_FUNCTIONS: app.task_functions()}
    return Connection(url, transport="worker.queue.transport:Transport", transport_options=options)


@pytest.mark.parametrize("end", [Message.ack, Message.reject])
def test_a_message_that_cannot_be_acknowledged_makes_room_for_another(
    own_stack: Stack, end: Callable[[Message], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a worker whose processes were all at work when Redis went would be idle for ever."""
    url = own_stack.environment["REDIS_URL"]
    monkeypatch.setenv("REDIS_URL", url)
    seen: list[Message] = []
    with (
        connect(url) as connection,
        connection.Consumer(_QUEUE, on_message=seen.append, prefetch_count=1),
    ):
        publish(url)
        wait_for(lambda: receive(connection, seen), within=30, what="the first message")
        own_stack.valkey.stop()
        try:
            with pytest.raises(connection.connection_errors):
                end(seen.pop())
        finally:
            own_stack.valkey.start()
        publish(url)
        wait_for(lambda: receive(connection, seen), within=10, what="the second message")


def test_a_message_of_two_fields_that_is_given_back_comes_again(stack: Stack) -> None:
    """As the same message, though its producer knew nothing of how that is done."""
    url = stack.environment["REDIS_URL"]
    seen: list[Message] = []
    with (
        Redis.from_url(url) as client,
        connect(url) as connection,
        connection.Consumer(_QUEUE, on_message=seen.append, prefetch_count=1),
    ):
        client.delete(_QUEUE.name)
        client.lpush(_QUEUE.name, SHORT)
        wait_for(lambda: receive(connection, seen), within=30, what="the message")
        first = seen.pop()
        first.requeue()
        wait_for(lambda: receive(connection, seen), within=30, what="the message again")
        seen[0].ack()
    assert seen[0].headers == {**first.headers, "redelivered": True}
    assert first.headers["id"] == json.loads(SHORT)["headers"]["id"]
    assert seen[0].body == first.body


@pytest.mark.parametrize("priority", [FRONT, OVERFLOW])
def test_a_message_that_arrives_while_redis_is_out_of_memory_is_put_back(
    own_stack: Stack, priority: int
) -> None:
    """Redis still delivers it, and does not save it as in flight: it would be in memory only."""
    url, name = own_stack.environment["REDIS_URL"], redis_list(_QUEUE.name, priority)
    seen: list[Message] = []
    with (
        Redis.from_url(url) as client,
        connect(url) as connection,
        connection.Consumer(_QUEUE, on_message=seen.append, prefetch_count=1),
    ):
        client.delete(name)
        publish(url, priority)
        before = client.lrange(name, 0, -1)
        with during(INCIDENTS["out of memory"], url), pytest.raises(OutOfMemoryError):
            wait_for(lambda: drain(connection), within=30, what="the message")
        assert client.lrange(name, 0, -1) == before
        wait_for(lambda: receive(connection, seen), within=30, what="the message again")
        seen[0].ack()


@pytest.mark.parametrize(
    "reply",
    [
        "CLUSTERDOWN The cluster is down",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down",
        "NOPERM this user has no permissions",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "WRONGPASS invalid username-password pair",
        "max number of clients reached",
    ],
)
def test_a_worker_connects_again_whatever_redis_replies(reply: str) -> None:
    """Celery catches the transport's connection errors, and exits on all others."""
    error = BaseParser.parse_error(reply)  # type: ignore[no-untyped-call]
    assert isinstance(error, Transport.connection_errors)


def publish(url: str, priority: int = FRONT) -> None:
    """Send a message on a connection of its own."""
    with Connection(url) as connection:
        options = {"connection": connection, "queue": _QUEUE, "priority": priority}
        sent = sync_media.apply_async(("mood", "none"), **options)
        assert not isinstance(sent, LostResult)


def receive(connection: Connection, seen: list[Message]) -> bool:
    """Listen for a moment, as a worker's loop does; tell whether a message has come."""
    with suppress(*connection.connection_errors):
        drain(connection)
    return bool(seen)


def drain(connection: Connection) -> None:
    """Listen for a moment."""
    with suppress(TimeoutError):
        connection.drain_events(timeout=0.5)
