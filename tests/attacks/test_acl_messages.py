"""Messages with which a producer uses the rights of workers, which are more than its own."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from celery.worker.request import create_request_cls  # type: ignore[attr-defined]
from kombu import Connection, Message, Queue
from kombu.utils import symbol_by_name

from tests.deployed_valkey import DeployedValkey, deployed_valkey
from tests.message_samples import SHORT
from tests.messages import envelope, headers, properties
from tests.waiting import wait_for
from worker.app import app
from worker.queue.transport import TASK_FUNCTIONS

_KEY = "media-atproto:parked:did:plc:victim:bound"


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedValkey]:
    """Run the Valkey of docker-compose.yml."""
    with deployed_valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.mark.parametrize(
    ("exchange", "routing_key"),
    [("", "foreign"), ("", _KEY), ("live", "bulk"), ("nowhere", "live"), ("foreign\r\n", "")],
)
def test_a_message_returns_to_its_queue_whatever_route_it_names(
    valkey: DeployedValkey, exchange: str, routing_key: str
) -> None:
    """Denied the key, no message would be delivered again; allowed, its value would be replaced."""
    route = {"exchange": exchange, "routing_key": routing_key}
    hostile = envelope(properties=properties() | {"delivery_info": route})
    with valkey.connect("producer") as producer, valkey.connect_auditor() as auditor:
        producer.lpush("live", hostile)
        producer.lpush("live", SHORT)
        for message in received(valkey, 2):
            message.requeue()
        assert auditor.keys() == [b"live"]
        assert auditor.llen("live") == 2
        assert valkey.denials() == []
        auditor.flushall()


def received(valkey: DeployedValkey, number: int) -> list[Message]:
    """Return messages as a worker receives them."""
    options = {TASK_FUNCTIONS: app.task_functions()}
    connection = Connection(
        valkey.url("worker"),
        transport="worker.queue.transport:Transport",
        transport_options=options,
    )
    seen: list[Message] = []
    consumer = connection.Consumer(Queue("live"), on_message=seen.append, auto_declare=False)
    consumer.consume()

    def receive() -> bool:
        connection.drain_events(timeout=5)
        return len(seen) == number

    wait_for(receive, within=30, what="the messages")
    return seen


@pytest.mark.parametrize("limits", [[0.01, None], [1e9, 1e9]])
def test_a_message_has_no_influence_on_time_limits(limits: list[float | None]) -> None:
    """A short one kills each run of an item, until it has failed for good."""
    task, pool = app.tasks["sync_media"], Mock()
    message = Mock(
        headers=headers(timelimit=limits),
        payload=[[], {}, {}],
        body="[]",
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info={},
        properties={},
    )
    request = create_request_cls(symbol_by_name(task.Request), task, pool, "", None, app=app)
    request(message, app=app, task=task).execute_using_pool(pool)
    used = pool.apply_async.call_args.kwargs
    assert (used["timeout"], used["soft_timeout"]) == (task.time_limit, task.soft_time_limit)
