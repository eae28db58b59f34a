"""Check messages before Celery sees them, and fill in missing fields.

Celery and its transport do not validate messages. Half of the possible mistakes stop the worker,
and some stop it again after each restart. The size is checked before anything else, because the
parsed message can need thirty times as much memory.
Source: https://docs.celeryq.dev/en/stable/internals/protocol.html#version-2

Missing fields that only kombu's Redis transport needs are derived from the queue's name.
Source: kombu 5.7, `kombu.transport.virtual.base.Message` and `kombu.transport.redis.QoS.append`.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import uuid4

from worker.core.clock import now
from worker.queue.json_types import exceeds_depth, kind_name, matches, type_name
from worker.queue.names import queue_of

_MAX_BYTES = 2**20  # ten times the size of a batch with the longest ids
_MAX_ITEMS = 200  # of a batch, whose documents are in memory together
_MAX_LEVELS = 16
_MAX_NAME = 64  # characters of a name in the log
_MAX_FAULT = 300  # characters of a fault in the log
_MAX_WAIT = 300  # seconds; until its `eta`, a message is kept in memory and may be redelivered
_ENVELOPE = {
    "body": str,
    "content-encoding": str,
    "content-type": str,
    "headers": dict,
    "properties": dict,
}
_PROPERTIES = {
    "body_encoding": str | None,
    "correlation_id": str | None,
    "delivery_info": dict,
    "delivery_tag": str,
    "priority": int | None,
    "reply_to": str | None,
}
_DELIVERY = {"exchange": str, "routing_key": str}
_TEXTS = ("argsrepr", "eta", "expires", "group", "kwargsrepr", "parent_id", "root_id", "shadow")
_HEADERS: Mapping[str, Any] = dict.fromkeys(_TEXTS, str | None) | {
    "compression": None,
    "id": str,
    "ignore_result": bool | None,
    "replaced_task_nesting": int | None,
    "retries": int,
    "stamped_headers": list[str] | None,
    "stamps": dict | None,
    "task": str,
    "timelimit": list[int | float | None] | None,
}
_ENCODED_VALUE = {"__type__", "__value__"}  # kombu.utils.json
_FOLLOWERS = ("callbacks", "errbacks", "chain", "chord")
Json = Mapping[str, Any]
TaskFunctions = Mapping[str, Callable[..., object]]
_ENCODING = {"content-type": "application/json", "content-encoding": "utf-8"}


@dataclass(frozen=True, slots=True)
class InvalidMessage:
    """The id, the task and the fault of a message to drop."""

    id: str
    task: str
    fault: str


class _MalformedError(Exception):
    """A message is invalid; the text describes the fault."""


@dataclass(frozen=True, slots=True)
class TaskCall:
    """The task name and the arguments, by name, of a message."""

    task: str
    arguments: Mapping[str, object]


def validate(item: bytes, tasks: TaskFunctions) -> TaskCall | InvalidMessage:
    """Check a message; return its task call, or an InvalidMessage with the fault.

    `tasks` maps task names to functions. Arguments are checked against their annotations.
    """
    headers: Json = {}
    try:
        envelope = _envelope(item)
        headers = _mapping(envelope.get("headers"))
        return _check_envelope(envelope, tasks)
    except _MalformedError as error:
        message_id, task = _printable(headers.get("id")), _printable(headers.get("task"))
        return InvalidMessage(message_id, task, str(error)[:_MAX_FAULT])


def peek(item: bytes, tasks: TaskFunctions) -> TaskCall | None:
    """Parse a message without validation (fast); return None if it is unreadable."""
    if len(item) > _MAX_BYTES:
        return None
    try:
        envelope = json.loads(item)
        args, kwargs, _ = json.loads(_decode_body(envelope))
        task = envelope["headers"]["task"]
        names = signature_of(tasks[task]).parameters
        return TaskCall(task, dict(zip(names, args, strict=False)) | kwargs)
    except (KeyError, TypeError, ValueError, RecursionError, _MalformedError):
        return None


def _envelope(item: bytes) -> dict[str, Any]:
    if len(item) > _MAX_BYTES:
        raise _MalformedError(f"it is {len(item)} bytes long, {_MAX_BYTES} at most are taken")
    envelope = _parse_json(item, "it")
    if not isinstance(envelope, dict):
        raise _MalformedError(f"it is {type_name(envelope)}, not an object")
    return envelope


def _check_envelope(envelope: Json, tasks: TaskFunctions) -> TaskCall:
    _check_values(envelope, "it")
    _check("part", envelope, _ENVELOPE)
    _check("property", envelope["properties"], _PROPERTIES)
    _check("delivery_info", envelope["properties"]["delivery_info"], _DELIVERY)
    headers = envelope["headers"]
    _check("header", headers, _HEADERS)
    _check_headers(headers)
    args, kwargs = _arguments(envelope)
    task = headers["task"]
    if task not in tasks:
        raise _MalformedError("there is no such task here")
    return TaskCall(task, _bind_arguments(tasks[task], args, kwargs))


def _check(what: str, values: Json, kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        if not matches(values.get(name), kind):
            actual = type_name(values[name]) if name in values else "missing"
            raise _MalformedError(f"its {what} {name!r} is {actual}, not {kind_name(kind)}")


def _check_headers(headers: Json) -> None:
    if not 0 < len(headers["id"]) <= 4 * _MAX_NAME:
        raise _MalformedError("its id is empty or too long")
    limits = headers.get("timelimit")
    if limits is not None and (len(limits), *map(_is_limit, limits)) != (2, True, True):
        raise _MalformedError("its header 'timelimit' is not two numbers above 0")
    for name in ("eta", "expires"):
        moment = _parse_time(name, headers[name]) if headers.get(name) is not None else None
        if moment and name == "eta" and (moment - now()).total_seconds() > _MAX_WAIT:
            raise _MalformedError(f"it asks to wait longer than {_MAX_WAIT} seconds")


def _is_limit(limit: Any) -> bool:
    return limit is None or (math.isfinite(limit) and limit > 0)


def _parse_time(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _MalformedError(f"its header {name!r} is not a time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _arguments(envelope: Json) -> tuple[list[object], dict[str, object]]:
    if (envelope["content-type"], envelope["content-encoding"]) != ("application/json", "utf-8"):
        raise _MalformedError("its body is not declared as JSON in UTF-8")
    body = _parse_json(_decode_body(envelope), "its body")
    if not isinstance(body, list) or [type(part) for part in body] != [list, dict, dict]:
        raise _MalformedError("its body is not a list of arguments, named arguments and options")
    _check_values(body, "its body")
    args, kwargs, options = body
    if any(options.get(name) for name in _FOLLOWERS):
        raise _MalformedError("it asks for other tasks to follow it")
    return args, kwargs


def _decode_body(envelope: Json) -> bytes:
    body, encoding = envelope["body"], _mapping(envelope.get("properties")).get("body_encoding")
    if encoding not in {None, "base64"}:
        raise _MalformedError("its body is in an encoding that is not base64")
    try:
        return base64.b64decode(body) if encoding else str(body).encode()
    except (binascii.Error, ValueError):
        raise _MalformedError(f"its body is not {encoding or 'text'}") from None


def _parse_json(text: bytes, what: str) -> object:
    # Decoded here, because `json.loads` also accepts UTF-16 and a BOM, which kombu does not.
    try:
        return json.loads(text.decode(), object_hook=_refuse_encoded)
    except (ValueError, RecursionError):
        raise _MalformedError(f"{what} is not JSON") from None


def _refuse_encoded(value: dict[str, object]) -> dict[str, object]:
    """Raise ValueError for the form that kombu decodes to a date, a UUID or bytes."""
    if value.keys() == _ENCODED_VALUE:
        raise ValueError("a value that kombu would decode")
    return value


def _check_values(value: object, what: str) -> None:
    """Check the depth, and that all texts are valid Unicode: Redis clients send no others."""
    if exceeds_depth(value, _MAX_LEVELS):
        raise _MalformedError(f"{what} is nested more than {_MAX_LEVELS} levels deep")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _MalformedError(f"{what} has a text that is not Unicode") from None


def _bind_arguments(
    task: Callable[..., object], args: list[object], kwargs: dict[str, object]
) -> Mapping[str, object]:
    signature = signature_of(task)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise _MalformedError(f"the task does not take its arguments: {str(error)!a}") from None
    kinds = {name: signature.parameters[name].annotation for name in bound.arguments}
    _check("argument", bound.arguments, kinds)
    for name, value in bound.arguments.items():
        if isinstance(value, list) and len(value) > _MAX_ITEMS:
            raise _MalformedError(f"its argument {name!r} has more than {_MAX_ITEMS} items")
    return bound.arguments


@cache
def signature_of(task: Callable[..., object]) -> inspect.Signature:
    """Return the signature of a task's function, with evaluated annotations."""
    return inspect.signature(task, eval_str=True)


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _printable(value: object) -> str:
    return ascii(value)[1:-1][:_MAX_NAME] if isinstance(value, str) and value else "-"


def fill_defaults(item: bytes, name: str) -> bytes:
    """Add missing fields to a message from the Redis list `name`, and return it.

    Other fields are unchanged, except that the message returns to this queue if its worker dies.
    Items that `validate` refuses by their size or form are returned unchanged.
    """
    try:
        envelope = _envelope(item)
    except _MalformedError:
        return item
    if exceeds_depth(envelope, _MAX_LEVELS):
        return item
    added = _add_missing(envelope, _ENCODING | {"properties": {}})
    if isinstance(envelope.get("headers"), dict):
        added |= _add_missing(envelope["headers"], {"retries": 0})
    if isinstance(envelope["properties"], dict):
        # The default exchange: requeuing the message then needs no binding in Redis.
        route = {"exchange": "", "routing_key": queue_of(name)}
        delivery: dict[str, object] = {"delivery_tag": str(uuid4()), "delivery_info": route}
        added |= _add_missing(envelope["properties"], delivery)
        added |= _replace_route(envelope["properties"]["delivery_info"], route)
    return json.dumps(envelope).encode() if added else item


def _replace_route(delivery: object, route: Mapping[str, object]) -> bool:
    """Replace the route by which a message is redelivered; return whether it was another one.

    A producer must not choose it: workers can write to more keys than producers. If the worker is
    denied the key, the transaction fails again and again, and no message is redelivered. An
    incomplete route stays, and is refused.
    """
    if not isinstance(delivery, dict) or not _DELIVERY.keys() <= delivery.keys():
        return False
    queue = route["routing_key"]
    if delivery["routing_key"] == queue and delivery["exchange"] in ("", queue):
        return False
    delivery |= route
    return True


def _add_missing(values: dict[str, Any], defaults: dict[str, object]) -> bool:
    """Add missing values from `defaults`; return whether any were missing."""
    missing = defaults.keys() - values.keys()
    values |= {name: defaults[name] for name in missing}
    return bool(missing)
