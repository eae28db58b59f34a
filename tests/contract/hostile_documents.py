"""Documents as no platform means to write them, and what each has to lead to."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import bson
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument

from worker.core.clock import now

LIMIT = 16 * 2**20  # bytes of a document
NOTHING = "nothing"
"""Stands for a refusal that has no room on the document."""
STATE = (
    "status reason repo rkey uri cid blobs links fingerprint attempts lost attemptedAt syncedAt "
    "publishedAt retryAt heldUntil error failingSince lease strays again"
)
"""The fields of a document's `atproto`, to be split."""
READ: bson.CodecOptions[dict[str, Any]] = bson.CodecOptions(
    tz_aware=True,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)
_BAD = b"a\xff\xed\xa0\x80b"  # a byte that is none of UTF-8's, and half of a surrogate pair
_LATE = {"least": -(2**63), "year 0": -62_135_596_800_001, "greatest": 2**63 - 1}
_WRONG: Mapping[str, object] = {
    "list": ["a", {"b": 1}],
    "empty list": [],
    "document": {"$gt": ""},
    "reference": DBRef("users", 1),
    "zero": 0,
    "false": False,
    "NaN": float("nan"),
    "bytes": b"x",
    "binary": Binary(b"x", 128),
    "code": Code("x"),
    "regex": Regex(".*"),
    "decimal": Decimal128("1"),
    "timestamp": Timestamp(1, 1),
    "id": ObjectId(),
    "least": MinKey(),
    "greatest": MaxKey(),
}


_OF_EACH_KIND = frozenset({"list", "code"})


@dataclass(frozen=True, slots=True)
class Case:
    """A mood, as bytes, and what names the reason for which it is refused; None if it is published.

    `record` is what the record has to hold then. Sweeps or backfills may be `blind` to it: those
    see no unknown status and no `_id` of an odd type, these nothing that failed or is nobody's.
    """

    name: str
    raw: RawBSONDocument
    refused: str | None = None
    record: Mapping[str, object] | None = None
    blind: str = ""

    @property
    def id(self) -> Any:
        """Return the `_id`, as the driver reads it."""
        return bson.decode(self.raw.raw, READ)["_id"]


def cases(user: str) -> Iterator[Case]:
    """Go through hostile moods of a user."""
    good: dict[str, Any] = {"mood": "calm", "when": now(), "user": user}
    yield from _texts(good)
    yield from _dates(good)
    yield from _ids(good)
    yield from _states(good)
    for field in ("mood", "when", "user"):
        for name, value in _WRONG.items():
            blind = "backfill" if field == "user" else ""
            yield Case(f"{field}: {name}", _raw(good | {field: value}), field, blind=blind)


def _texts(good: dict[str, Any]) -> Iterator[Case]:
    for text in ("a\0b", "\x1b[31m\x07\u202e", "\ufffe\uffff", "{$ne: 1}", "x" * 5000):
        yield Case(f"text {text!a:.20}", _raw(good | {"mood": text}), record={"text": text})
    yield Case(
        "bytes that are no text",
        _raw(_without(good, "mood"), _text("mood", _BAD)),
        record={"text": "a\ufffd\ufffd\ufffd\ufffdb"},
    )
    stranger = _raw(_without(good, "user"), _text("user", _BAD))
    yield Case("user of such bytes", stranger, "no_account", blind="backfill")
    yield Case(
        "16 MB of text", _raw(good | {"mood": "x" * 16_000_000}), refused="mood has 16000000 bytes"
    )
    room = LIMIT - len(_raw(good | {"mood": ""}).raw)
    yield Case("no room for a state", _raw(good | {"mood": "x" * (room - 370)}), refused="room")
    yield Case("full", _raw(good | {"mood": "x" * room}), refused=NOTHING)
    keys = {"$set": 1, "a.b": 2, "": 3}
    yield Case("keys that are commands", _raw(good | keys), record={"text": "calm"})


def _dates(good: dict[str, Any]) -> Iterator[Case]:
    for year, text in ((1, "0001-01-01T00:00:00.000Z"), (9999, "9999-01-01T00:00:00.000Z")):
        when = datetime(year, 1, 1, tzinfo=UTC)
        yield Case(f"year {year}", _raw(good | {"when": when}), record={"when": text})
    for name, moment in _LATE.items():
        yield Case(f"when: {name}", _raw(_without(good, "when"), _date("when", moment)), "when")
        for field in ("attemptedAt", "syncedAt", "publishedAt", "failingSince", "retryAt"):
            state = _document(_date(field, moment))
            yield Case(f"{field}: {name}", _raw(good, _nested("atproto", state)))
        lease = _nested("lease", _document(_date("until", moment)))
        yield Case(f"lease: {name}", _raw(good, _nested("atproto", _document(lease))))


def _ids(good: dict[str, Any]) -> Iterator[Case]:
    known = ("text", "\U0001f3a8", "0042", "a" * 24, "x" * 512, -3, Int64(2**62), 7.0)
    for value in known:
        ref = str(int(value)) if isinstance(value, float) else str(value)
        yield Case(f"_id {value!a:.20}", _raw(good | {"_id": value}), record={"ref": ref})
    unknown = ("", "a\0b", "x" * 513, 5.25, True, None, {"a": 1}, b"x", Binary(bytes(16), 4))
    for one in (*unknown, Decimal128("1"), Timestamp(1, 1), datetime(2020, 1, 1), MinKey()):
        blind = "" if isinstance(one, str | float) else "sweep"
        yield Case(f"_id {one!a:.20}", _raw(good | {"_id": one}), "_id", blind=blind)


def _states(good: dict[str, Any]) -> Iterator[Case]:
    for name, value in _WRONG.items():
        blind = "sweep" if name in {"list", "empty list"} else ""
        yield Case(f"atproto: {name}", _raw(good | {"atproto": value}), blind=blind)
        for field in STATE.split() if name in _OF_EACH_KIND else ():
            blind = "sweep" if field == "status" else ""
            yield Case(f"{field}: {name}", _raw(good | {"atproto": {field: value}}), blind=blind)
    of_one = [{"status": "failed", "error": {"code": "x"}, "retryAt": now(), "rkey": "a"}]
    yield Case("a list of states", _raw(good | {"atproto": of_one}), blind="backfill")
    in_list = {"status": ["failed"]}
    yield Case("a status in a list", _raw(good | {"atproto": in_list}), blind="sweep, backfill")
    yield Case("strays", _raw(good | {"atproto": {"strays": ["x", "at://a", "at://a/b/c"]}}))
    yield Case("a cid that is none", _raw(good | {"atproto": {"cid": "x", "uri": "y"}}))
    yield Case("attempts", _raw(good | {"atproto": {"attempts": Int64(2**63 - 1)}}))
    yield Case("no text", _raw(good, _text("atproto", _BAD)))
    for fields in (
        _text("lease", _BAD) + _text("attemptedAt", _BAD),
        _nested("lease", _document(_text("token", _BAD) + _date("until", 0))),
    ):
        yield Case("a lease of no text", _raw(good, _nested("atproto", _document(fields))))


def _without(document: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != field}


def _raw(document: dict[str, Any], more: bytes = b"") -> RawBSONDocument:
    """Return a document with elements that no driver would write."""
    fields = bson.encode({"_id": ObjectId(), **document})[4:-1]
    return RawBSONDocument(_document(fields + more))


def _document(elements: bytes) -> bytes:
    """Frame elements as a document: https://bsonspec.org/spec.html."""
    return struct.pack("<i", len(elements) + 5) + elements + b"\0"


def _text(name: str, value: bytes) -> bytes:
    return b"\x02" + name.encode() + b"\0" + struct.pack("<i", len(value) + 1) + value + b"\0"


def _date(name: str, milliseconds: int) -> bytes:
    return b"\x09" + name.encode() + b"\0" + struct.pack("<q", milliseconds)


def _nested(name: str, document: bytes) -> bytes:
    return b"\x03" + name.encode() + b"\0" + document
