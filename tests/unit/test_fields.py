"""The values of a document, as the driver returns them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import UuidRepresentation
from bson.datetime_ms import DatetimeMS

from worker.core.fields import FieldError, Fields

IDENTITY = UUID("12345678123456781234567812345678")
VALUES: dict[str, object] = {
    "uuid": IDENTITY,
    "legacy uuid": Binary.from_uuid(IDENTITY, UuidRepresentation.PYTHON_LEGACY),
    "binary": Binary(b"\x00", 128),
    "code": Code("x", {"y": IDENTITY}),
    "reference": DBRef("users", IDENTITY),
    "decimal": Decimal128("1.5"),
    "long": Int64(2**40),
    "smallest": MinKey(),
    "largest": MaxKey(),
    "id": ObjectId(),
    "pattern": Regex("x"),
    "compiled pattern": re.compile("x"),
    "timestamp": Timestamp(1, 1),
    "date": datetime(2026, 1, 1, tzinfo=UTC),
    "late date": DatetimeMS(8_640_000_000_000_000),
    "nested": {"list": [IDENTITY, {"deep": IDENTITY}]},
    "number": 1.5,
    "text": "\ufffd",
    "nothing": None,
}


@pytest.mark.parametrize("name", VALUES)
def test_every_type_of_value_has_a_fingerprint(name: str) -> None:
    """A document may contain any, in any field."""
    assert len(Fields({"mood": VALUES[name]}).fingerprint) == 64


def test_representation_of_a_uuid_changes_no_fingerprint() -> None:
    """The driver returns a UUID or its bytes, by an option of the connection string."""
    stored = Binary.from_uuid(IDENTITY, UuidRepresentation.STANDARD)
    assert Fields({"mood": IDENTITY}).fingerprint == Fields({"mood": stored}).fingerprint


@pytest.mark.parametrize(
    ("name", "described"),
    [
        ("long", "a number"),
        ("number", "a decimal number"),
        ("decimal", "a decimal number"),
        ("code", "code"),
        ("date", "a date"),
        ("nested", "an object"),
        ("id", "a value of the type ObjectId"),
    ],
)
def test_wrong_type_is_named_in_plain_words(name: str, described: str) -> None:
    """The operator reads it, who need not know Python."""
    with pytest.raises(FieldError, match=rf"must be text, not {described};"):
        Fields({"mood": VALUES[name]}).text("mood")
