"""The message that docs/producers.md describes, field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.message_samples import ITEM, LONG, SHORT, fields
from tests.messages import batch, call
from tests.poison import POISON
from worker.app import app
from worker.queue.messages import InvalidMessage, TaskCall, fill_defaults, peek, validate
from worker.queue.names import BULK, LIVE, OVERFLOW, redis_list

_CALL = TaskCall("sync_media", {"type": "mood", "id": ITEM})


def taken(item: bytes) -> TaskCall | InvalidMessage:
    """Return what a worker makes of a message on `live`."""
    return validate(fill_defaults(item, LIVE), app.task_functions())


@pytest.mark.parametrize("item", [SHORT, LONG])
def test_samples_are_taken(item: bytes) -> None:
    """By the worker, and by whoever looks at many to see whose they are."""
    assert taken(item) == _CALL
    assert peek(item, app.task_functions()) == _CALL


@pytest.mark.parametrize(("field", "required"), fields().items())
def test_fields_are_required_where_the_table_says_so(*, field: str, required: bool) -> None:
    """Each left out of what Python sends."""
    message = json.loads(LONG)
    *path, name = field.split(".")
    part = message[path[0]] if path else message
    del part[name]
    # The body is still in base64, of which the field tells.
    packed = field == "properties.body_encoding"
    assert isinstance(taken(json.dumps(message).encode()), InvalidMessage) is (required or packed)


def test_the_table_has_every_field() -> None:
    """Of what Python sends."""
    message = json.loads(LONG)
    parts = {f"{part}.{name}" for part in ("headers", "properties") for name in message[part]}
    assert fields().keys() == parts | (message.keys() - {"headers", "properties"})


def test_what_is_left_out_follows_from_the_queue() -> None:
    """So that the message can be given back, and is known as a save."""
    done: Any = json.loads(fill_defaults(SHORT, redis_list(LIVE, OVERFLOW)))
    assert done["properties"]["delivery_info"] == {"exchange": "", "routing_key": "live"}
    assert done["headers"]["retries"] == 0
    tags = [json.loads(fill_defaults(SHORT, LIVE))["properties"]["delivery_tag"] for _ in range(2)]
    assert tags[0] != tags[1]


@pytest.mark.parametrize(
    ("item", "queue"),
    [
        (LONG, LIVE),
        (call("mood", ITEM), LIVE),
        (batch("mood", "x"), BULK),
        *((item, LIVE) for item, _ in POISON.values()),
    ],
)
def test_what_is_there_stays_as_it_is(item: bytes, queue: str) -> None:
    """Right or wrong: a fault is not mended, so that it is told."""
    done = fill_defaults(item, queue)
    try:
        before = json.loads(item)
    except (ValueError, RecursionError):
        assert done == item
        return
    after = json.loads(done)
    if isinstance(before, dict):
        for name, value in before.items():
            assert value == after[name] or value.items() <= after[name].items()
    else:
        assert after == before
