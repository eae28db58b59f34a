"""The data model: what no record may hold, in whichever field."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest
from bson import Int64, ObjectId

from tests.unit.lexicon_samples import LEXICONS, MOOD, field_of, put, refusal
from worker.media.validation.data_model import MAX_DEPTH, MAX_INTEGER, check_data


class Text(enum.StrEnum):
    """A string that is more than a string."""

    CALM = "calm"


def nested(depth: int) -> object:
    """Return `depth` lists, one inside the other."""
    value: object = "core"
    for _ in range(depth):
        value = [value]
    return value


def endless() -> list[Any]:
    """Return a list that holds itself."""
    value: list[Any] = []
    value.append(value)
    return value


NOT_DATA = {
    "float": 1.5,
    "float without a fraction": 1.0,
    "NaN": math.nan,
    "infinity": math.inf,
    "2^53": MAX_INTEGER + 1,
    "-2^53": -MAX_INTEGER - 1,
    "integer of 5,000 digits": 10**5000,
    "bytes": b"calm",
    "tuple": ("calm",),
    "set": {"calm"},
    "date": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "ObjectId": ObjectId("65f0c0ffee0102030405aabb"),
    "Decimal": decimal.Decimal(1),
    "BSON integer": Int64(1),
    "subclass of str": Text.CALM,
    "subclass of dict": OrderedDict(a=1),
    "object": object(),
    "high surrogate": "a\ud800",
    "low surrogate": "\udfffa",
    "surrogates the wrong way round": "\udc00\ud800",
    "surrogate pair not joined": "\ud83c\udfa8",
}


@pytest.mark.parametrize("value", NOT_DATA.values(), ids=NOT_DATA.keys())
@pytest.mark.parametrize(
    ("field", "is_nested", "place"),
    [("text", False, "text"), ("surprise", False, "surprise"), ("text", True, "text.parts[1]")],
    ids=["declared", "undeclared", "nested"],
)
def test_what_is_not_data_is_refused_in_any_field(
    field: str, *, is_nested: bool, place: str, value: object
) -> None:
    """The path leads through objects and lists to the value itself."""
    content = {"parts": ["calm", value]} if is_nested else value
    assert field_of(refusal(MOOD["$type"], put(MOOD, field, content))) == place


@pytest.mark.parametrize(
    "key",
    [1, None, True, b"text", ("text",), 10**5000],
    ids=["integer", "null", "boolean", "bytes", "tuple", "integer of 5,000 digits"],
)
def test_a_key_that_is_no_string_is_refused(key: object) -> None:
    """JSON would turn such a key into text without a word."""
    assert field_of(refusal(MOOD["$type"], {**MOOD, key: "x"}, "not a string")) == "record"


def test_a_surrogate_in_a_key_is_refused_and_can_be_logged() -> None:
    """The error itself is clean text that names the key."""
    error = refusal(MOOD["$type"], put(MOOD, "mo\ud800od", "x"), "surrogate")
    assert field_of(error) == r"mo\ud800od"
    error.message.encode()


def test_a_hostile_key_does_not_swell_the_message() -> None:
    """A long key is cut and its control characters are escaped."""
    error = refusal(MOOD["$type"], put(MOOD, "\x1b[31m" + "k" * 10_000, "x"))
    assert field_of(error).startswith(r"\x1b[31mkkk")
    assert len(error.message) < 150


@pytest.mark.parametrize("record", [None, "text", 3, [], [("text", "calm")]])
def test_a_record_that_is_no_object_is_refused(record: Any) -> None:
    """Whatever a caller hands over, the answer is a violation."""
    assert field_of(refusal(MOOD["$type"], record, "should be an object")) == "record"


@pytest.mark.parametrize(
    "value",
    [nested(MAX_DEPTH), nested(100_000), endless()],
    ids=["a level too deep", "100,000 levels", "a list that holds itself"],
)
def test_nesting_has_an_end(value: object) -> None:
    """Neither deep nor circular values overflow the stack."""
    error = refusal(MOOD["$type"], {**MOOD, "text": value}, "levels deep")
    assert field_of(error).startswith("text[0][0]")


@pytest.mark.parametrize(
    "value",
    [None, True, 0, MAX_INTEGER, -MAX_INTEGER, "\N{ARTIST PALETTE}", {}, nested(MAX_DEPTH - 1)],
    ids=["null", "true", "0", "2^53-1", "-2^53+1", "emoji", "empty object", "32 levels"],
)
def test_json_values_are_data(value: object) -> None:
    """Everything that JSON, JavaScript and Unicode can hold gets through."""
    assert check_data({"field": value}) == {"field": value}


def test_a_record_may_be_any_mapping() -> None:
    """A read-only view is as good as a dict at the top."""
    LEXICONS.validate(MOOD["$type"], MappingProxyType(MOOD))
