"""What a producer in another language may leave out of a message. Pure.

Kombu's transport for Redis takes each of these for granted, and nothing about them is the
producer's to know: they follow from the queue that the message was taken from.
Source: kombu 5.7, `kombu.transport.virtual.base.Message` and `kombu.transport.redis.QoS.append`.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from worker.queue.names import queue_of

_PACKING = {"content-type": "application/json", "content-encoding": "utf-8"}


def completed(item: bytes, name: str) -> bytes:
    """Return a message with what it leaves out, which was taken from the Redis list `name`.

    What is there stays as it is, right or wrong, and so does what is no message at all: whether
    it can be taken is for `worker.queue.messages` to say.
    """
    try:
        envelope = json.loads(item)
    except (ValueError, RecursionError):
        return item
    if not isinstance(envelope, dict):
        return item
    added = _added(envelope, _PACKING | {"properties": {}})
    if isinstance(envelope.get("headers"), dict):
        added |= _added(envelope["headers"], {"retries": 0})
    if isinstance(envelope["properties"], dict):
        added |= _added(envelope["properties"], _delivery(queue_of(name)))
    return json.dumps(envelope).encode() if added else item


def _delivery(queue: str) -> dict[str, object]:
    # Of the default exchange: what is given back then needs no binding in Redis.
    route = {"exchange": "", "routing_key": queue}
    return {"delivery_tag": str(uuid4()), "delivery_info": route}


def _added(values: dict[str, Any], defaults: dict[str, object]) -> bool:
    """Add what is not there; tell whether anything was not."""
    missing = defaults.keys() - values.keys()
    values |= {name: defaults[name] for name in missing}
    return bool(missing)
