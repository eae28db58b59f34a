"""What differs between two versions of a record."""

from __future__ import annotations

import pytest

from worker.operations.expected import Difference, Record, compare

MOOD: Record = {"$type": "computer.aesthetic.mood", "text": "calm", "when": "now"}
BLOB: Record = {"$type": "blob", "ref": {"$link": "bafkreia"}, "mimeType": "image/png", "size": 9}


def test_equal_records_do_not_differ() -> None:
    """Whatever the order of their fields."""
    assert compare(MOOD, {name: MOOD[name] for name in sorted(MOOD, reverse=True)}) == ()
    assert compare(None, None) == ()


def test_each_field_is_named_with_both_values() -> None:
    """Missing and superfluous fields are told from those with another value."""
    wanted: Record = {"text": "calm", "when": "now"}
    found: Record = {"text": "wild", "extra": 1}
    assert compare(wanted, found) == (
        Difference("text", '"calm"', '"wild"'),
        Difference("when", '"now"', None),
        Difference("extra", None, "1"),
    )


def test_blobs_are_compared_field_by_field() -> None:
    """One look tells whether it is another blob or only its size."""
    wanted: Record = {"thumbnail": BLOB}
    found: Record = {"thumbnail": {**BLOB, "ref": {"$link": "bafkreib"}}}
    assert compare(wanted, found) == (
        Difference("thumbnail.ref.$link", '"bafkreia"', '"bafkreib"'),
    )


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (0, False), (None, ""), ("1", 1), ([1, 2], [2, 1]), (1, 1.5)]
)
def test_values_of_different_kinds_differ(one: object, other: object) -> None:
    """Also where Python takes them for equal."""
    assert compare({"field": one}, {"field": other})
    assert not compare({"field": one}, {"field": one})


def test_null_is_not_absent() -> None:
    """A field that is null is there."""
    assert compare({"field": None}, {}) == (Difference("field", "null", None),)


def test_missing_and_unwanted_records_are_one_difference() -> None:
    """Not one for each of their fields."""
    assert compare({"text": "calm"}, None) == (Difference("", '{"text": "calm"}', None),)
    assert compare(None, {"text": "calm"}) == (Difference("", None, '{"text": "calm"}'),)
