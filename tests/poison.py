"""What must not be on the queue, byte by byte, and what is said of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from tests.messages import ITEM, call, envelope, headers, packed, properties


def _with_header(**changes: object) -> bytes:
    return envelope(headers=headers(**changes))


def _with_property(**changes: object) -> bytes:
    return envelope(properties=properties() | changes)


def _with_body(value: object) -> bytes:
    return envelope(body=packed(value))


_IN_A_YEAR = (datetime.now(UTC) + timedelta(days=365)).isoformat()
_NO_BODY = "not a list of arguments, named arguments and options"
_NO_JSON = "its body is not declared as JSON"
_ENCODED = {"__type__": "?", "__value__": 1}  # kombu raises an error for an unknown type
_OTHERS = "other tasks to follow"

POISON: Mapping[str, tuple[bytes, str]] = {
    # No message at all.
    "garbage": (b"garbage", "it is not JSON"),
    "nothing": (b"", "it is not JSON"),
    "no UTF-8": (b"\xff\xfe\x00", "it is not JSON"),
    "an abyss": (b"[" * 100_000, "it is not JSON"),
    "a list": (b"[1]", "it is a list, not an object"),
    "null": (b"null", "it is null, not an object"),
    "an empty object": (b"{}", "its part 'body' is missing"),
    "UTF-16": (envelope().decode().encode("utf-16"), "it is not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + envelope(), "it is not JSON"),
    "half a character": (envelope(more="?").replace(b"?", b"\xed\xa0\x80"), "it is not JSON"),
    "half a character, escaped": (envelope(more="\ud800"), "a text that is not Unicode"),
    "an abyss in an object": (b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", "nested more than"),
    "an endless number": (b'{"a":' + b"9" * 5000 + b"}", "it is not JSON"),
    "Celery's own date": (b'{"__type__": "datetime", "__value__": 1}', "it is not JSON"),
    "a value of no known type": (_with_header(more=_ENCODED), "it is not JSON"),
    "an argument of no known type": (call("mood", _ENCODED), "its body is not JSON"),
    "nested": (envelope(more=json.loads("[" * 20 + "]" * 20)), "nested more than"),
    "two megabytes": (_with_body("x" * 2**21), "bytes long"),
    # What the transport goes by.
    "properties null": (envelope(properties=None), "its part 'properties' is null"),
    "no tag": (_with_property(delivery_tag=None), "'delivery_tag' is null"),
    "a tag of tags": (_with_property(delivery_tag={}), "'delivery_tag' is an object"),
    "no way": (_with_property(delivery_info={}), "'exchange' is missing"),
    "a word for a way": (_with_property(delivery_info="x"), "'delivery_info' is a text"),
    "priority": (_with_property(priority="x"), "'priority' is a text"),
    # How the body is packed.
    "no body": (envelope(body=None), "its part 'body' is null"),
    "body unpacked": (envelope(body={"a": 1}), "its part 'body' is an object"),
    "no base64": (envelope(body="a"), "its body is not base64"),
    "rot13": (_with_property(body_encoding="rot13"), "encoding that is not base64"),
    "compressed": (_with_header(compression="rar"), "'compression' is a text, not absent"),
    "pickle": (envelope(content_type="application/x-python-serialize"), _NO_JSON),
    "yaml": (envelope(content_type="application/x-yaml"), _NO_JSON),
    "klingon": (envelope(content_encoding="klingon"), _NO_JSON),
    "no type": (envelope(content_type=None), "'content-type' is null"),
    "body of no JSON": (envelope(body="Z2FyYmFnZQ=="), "its body is not JSON"),
    # What Celery goes by.
    "headers a list": (envelope(headers=[1]), "its part 'headers' is a list"),
    "no headers": (envelope(headers={}), "'id' is missing"),
    "no task": (_with_header(task=None), "'task' is null"),
    "task a list": (_with_header(task=["x"]), "'task' is a list"),
    "no id": (envelope(headers={"task": "sync_media", "retries": 0}), "'id' is missing"),
    "id of ids": (_with_header(id={"a": 1}), "'id' is an object"),
    "endless id": (_with_header(id="x" * 5000), "its id is empty or too long"),
    "eta no time": (_with_header(eta="tomorrow"), "'eta' is not a time"),
    "eta in a year": (_with_header(eta=_IN_A_YEAR), "wait longer than"),
    "expires no time": (_with_header(expires={}), "'expires' is an object"),
    "limits of text": (_with_header(timelimit=["a", "b"]), "'timelimit' is a list, not"),
    "one limit": (_with_header(timelimit=[90]), "not two numbers above 0"),
    "limits below 0": (_with_header(timelimit=[90, -1]), "not two numbers above 0"),
    "retries a text": (_with_header(retries="x"), "'retries' is a text"),
    "stamps": (_with_header(stamped_headers=5), "'stamped_headers' is a number"),
    "a word": (_with_body("x"), _NO_BODY),
    "too short a body": (_with_body([[]]), _NO_BODY),
    "protocol 1": (_with_body({"task": "sync_media", "args": ["mood", ITEM]}), _NO_BODY),
    "arguments an object": (_with_body([{"type": "mood"}, {}, {}]), _NO_BODY),
    "names a list": (_with_body([["mood", ITEM], [1], {}]), _NO_BODY),
    "a callback": (_with_body([["mood", ITEM], {}, {"callbacks": [5]}]), _OTHERS),
    "a chain": (_with_body([["mood", ITEM], {}, {"chain": "x"}]), _OTHERS),
    # What the tasks are called with.
    "too few": (call("mood"), "missing a required argument: 'id'"),
    "too many": (call("mood", ITEM, None, 1), "too many positional arguments"),
    "twice": (call("mood", ITEM, type="mood"), "multiple values for argument 'type'"),
    "type a list": (call(["mood"], ITEM), "'type' is a list, not a text"),
    "id a query": (call("mood", {"$gt": ""}), "'id' is an object, not a text or a number"),
    "id a truth": (call("mood", True), "'id' is a boolean"),  # noqa: FBT003
    "user a query": (call("mood", ITEM, user={"$gt": ""}), "'user' is an object"),
    "ids a number": (call("mood", "x", 5, task="sync_batch"), "'ids' is a number"),
    "too many ids": (call("mood", "x", ["1"] * 201, task="sync_batch"), "more than 200 items"),
    "ids nested": (call("mood", "x", [["a"]], task="sync_batch"), "'ids' is a list, not a list of"),
    "subject a query": (call("mood", {"$gt": ""}, [ITEM], task="sync_batch"), "'subject' is an"),
    "rkey a number": (call("mood", "x", 5, task="delete_media"), "'rkey' is a number"),
    # What newer programs may send, and nobody.
    "task of the future": (call("mood", ITEM, task="mend_media"), "there is no such task here"),
    "argument of the future": (call("mood", ITEM, colour="red"), "argument 'colour'"),
    "protocol of the future": (envelope(body=["mood", ITEM]), "its part 'body' is a list"),
    "task of Celery's": (call([], task="celery.starmap"), "there is no such task here"),
}
