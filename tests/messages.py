"""Messages as Celery puts them on the queue, byte by byte: right ones, and others."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from uuid import uuid4

from redis import Redis

ITEM = "f" * 24
_AT_A_TIME = 5000
JsonObject = dict[str, object]


def envelope(**parts: object) -> bytes:
    """Return a message to `sync_media`, with these parts in place of its own."""
    message: JsonObject = {
        "body": packed([["mood", ITEM], {}, {}]),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers(),
        "properties": properties(),
    }
    named = {name.replace("_", "-"): part for name, part in parts.items()}
    return json.dumps(message | named).encode()


def headers(**changes: object) -> JsonObject:
    """Return the headers of a message to `sync_media`."""
    return {"id": str(uuid4()), "task": "sync_media", "retries": 0} | changes


def properties(queue: str = "live") -> JsonObject:
    """Return what the transport goes by."""
    route = {"exchange": queue, "routing_key": queue}
    return {"delivery_tag": str(uuid4()), "delivery_info": route, "body_encoding": "base64"}


def packed(value: object) -> str:
    """Return a body."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def call(*args: object, task: str = "sync_media", **kwargs: object) -> bytes:
    """Return a message that calls a task."""
    return envelope(headers=headers(task=task), body=packed([args, kwargs, {}]))


def batch(type_name: str, subject: str, *ids: str) -> bytes:
    """Return a message with a batch, on its way by `bulk`."""
    return envelope(
        headers=headers(task="sync_batch"),
        properties=properties("bulk"),
        body=packed([[type_name, subject, ids], {}, {}]),
    )


def fill(client: Redis, queue: str, messages: Iterable[bytes]) -> None:
    """Put messages on a queue in this order, thousands in a moment."""
    every = list(messages)
    for start in range(0, len(every), _AT_A_TIME):
        client.lpush(queue, *every[start : start + _AT_A_TIME])
