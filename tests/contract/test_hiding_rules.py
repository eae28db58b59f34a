"""Python and MongoDB agree on what hides an item, for values of every BSON type."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from uuid import UUID

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.items import MOOD, PAINTING, edit, save, settle, sweep
from worker.core.documents import ItemRef
from worker.database.mongo import RawDocument
from worker.media import MEDIA_TYPES, media_type
from worker.media.base import HidingRule, MediaType
from worker.operations.backfill.queries import UNSEEN, BackfillQueries
from worker.services import Services

TRUE = HidingRule("value", "true")
EQUAL = HidingRule("value", "equal", equal_to="wip")
OTHER = HidingRule("value", "other", other_than="public")
DOLLAR = HidingRule("value", "dollar", equal_to="$value")
NOT_DOLLAR = HidingRule("value", "not_dollar", other_than="$value")
RULES = (TRUE, EQUAL, OTHER, DOLLAR, NOT_DOLLAR)

TEXTS = ("", "a", "wip", "WIP", "wip ", "public", "Public", "true", "0", "\0", "é", "$value")
NUMBERS = (0, 1, -1, 0.0, -0.0, 0.5, float("nan"), float("inf"), Int64(0), Int64(2**40), 2**31)
DECIMALS = tuple(map(Decimal128, ("0", "-0", "0E+3", "0.00", "1", "NaN", "Infinity", "1E-6000")))
OTHERS: tuple[object, ...] = (
    *(True, False, None, [], [0], [False], [None], ["wip"], {}, {"wip": 1}, b"", b"wip"),
    *(Binary(b"", 128), Binary.from_uuid(UUID(int=0)), Code(""), Code("wip"), Code("public")),
    *(Code("", {"a": 1}), Regex(""), Regex("wip"), MinKey(), MaxKey(), Timestamp(0, 0)),
    *(ObjectId(b"\0" * 12), DBRef("wip", 0), datetime(1970, 1, 1, tzinfo=UTC)),
)
VALUES = (*TEXTS, *NUMBERS, *DECIMALS, *OTHERS)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.sampled_from([*TEXTS, *DECIMALS])
    | st.binary(max_size=3)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
)


def legacy(element: int, content: bytes) -> RawDocument:
    """Return a document with a `value` of a BSON type that PyMongo does not write."""
    part = bytes([element]) + b"value\0" + content
    body = bson.encode({"_id": ObjectId()})[4:-1] + part + b"\0"
    return RawBSONDocument(struct.pack("<i", len(body) + 4) + body)  # type: ignore[return-value]


def symbol(text: str) -> RawDocument:
    """Return a document with a symbol, which PyMongo reads as a text."""
    data = text.encode() + b"\0"
    return legacy(0x0E, struct.pack("<i", len(data)) + data)


LEGACY = (legacy(0x06, b""), *map(symbol, ("", "wip", "public", "x")))


def assert_agreement(here: Services, rule: HidingRule, document: RawDocument) -> None:
    """Assert that MongoDB and Python give the same answer for a stored document."""
    collection = here.storage.database["hiding"]
    collection.delete_many({})
    collection.insert_one(document)
    (found,) = collection.aggregate(
        [{"$project": {rule.field: 1, "hides": {"$eq": [rule.expression(), True]}}}]
    )
    assert rule.hides(found.get(rule.field)) is found["hides"], (rule, found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.reason)
def test_python_and_mongodb_agree_on_every_type(
    shared_services: Services, rule: HidingRule
) -> None:
    """A list, a code and a number that only looks like the text among them."""
    documents: list[RawDocument] = [
        {"another": 1},
        *({"value": value} for value in VALUES),
        *LEGACY,
    ]
    for document in documents:
        assert_agreement(shared_services, rule, document)


@settings(deadline=None)
@given(st.sampled_from([TRUE, EQUAL, OTHER]), values)
def test_python_and_mongodb_agree_on_any_value(
    shared_services: Services, rule: HidingRule, value: object
) -> None:
    """However it is nested."""
    assert_agreement(shared_services, rule, {"value": value})


def test_true_is_everything_but_false_0_null_and_the_empty_text() -> None:
    """Of whatever type the 0 is."""
    hiding = [value for value in VALUES if not TRUE.hides(value)]
    zeros = [0, 0.0, -0.0, Int64(0), *DECIMALS[:4]]
    assert list(map(repr, hiding)) == list(map(repr, ["", *zeros, False, None]))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"nuked": True}, "nuked"),
        ({"deleted": True}, "deleted"),
        ({"private": True}, "private"),
        ({"draft": True}, "draft"),
        ({"hidden": True}, "hidden"),
        ({"hidden": 1}, "hidden"),
        (dict.fromkeys(("nuked", "deleted", "private", "draft", "hidden"), False), None),
        ({"visibility": "private"}, "not_public"),
        ({"visibility": ""}, "not_public"),
        ({"visibility": 0}, "not_public"),
        ({"visibility": "public"}, None),
        ({"visibility": None}, None),
        ({"status": "wip"}, "draft"),
        ({"status": "done"}, None),
        ({"status": "live"}, None),
        ({"status": "wip", "nuked": True}, "nuked"),
        ({"status": "done", "visibility": "unlisted"}, "not_public"),
    ],
)
@pytest.mark.parametrize("kind", [MOOD, PAINTING], ids=lambda kind: kind.name)
def test_every_type_is_hidden_by_the_platforms_fields(
    here: Services, kind: MediaType, fields: RawDocument, reason: str | None
) -> None:
    """The document and the counts of a backfill name the same reason."""
    ref = save(here, kind)
    edit(here, ref, **fields)
    document = here.storage.store.find(kind, [ref.id])
    assert document is not None
    assert document.hidden == reason
    (counted,) = BackfillQueries(here.storage.store).owners(kind, UNSEEN)
    assert counted.wanted == (0 if reason else 1)
    assert counted.hidden == ({reason: 1} if reason else {})
    listed = list(BackfillQueries(here.storage.store).documents(kind, UNSEEN, "auth0|ada"))
    assert listed == ([] if reason else [ref.id])


@pytest.mark.parametrize(
    "field", ["nuked", "deleted", "private", "draft", "hidden", "visibility", "status"]
)
def test_a_field_that_can_hide_an_item_is_part_of_what_is_read(here: Services, field: str) -> None:
    """So the sweep notices a change of it, whatever the value."""
    ref = save(here)
    before = fingerprint(here, ref)
    edit(here, ref, **{field: "x"})
    assert fingerprint(here, ref) != before


@pytest.mark.parametrize(
    "field",
    ["hits", "lastAccessed", "score", "commentCount", "updatedAt", "wip", "completedAt", "kept"],
)
@pytest.mark.parametrize("kind", MEDIA_TYPES.values(), ids=MEDIA_TYPES)
def test_a_field_that_changes_all_the_time_is_not_read(
    here: Services, kind: MediaType, field: str
) -> None:
    """So it causes no rewrite, and the sweep does not enqueue the item."""
    ref = save(here, kind)
    settle(here, ref)
    before = fingerprint(here, ref)
    edit(here, ref, **{field: 7})
    assert fingerprint(here, ref) == before
    assert sweep(here) == []


def fingerprint(here: Services, ref: ItemRef) -> str:
    """Return the fingerprint of an item's document."""
    document = here.storage.store.find(media_type(ref.type), [ref.id])
    assert document is not None
    return document.fingerprint
