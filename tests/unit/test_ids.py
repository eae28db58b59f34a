"""Document ids as they come from the queue and the terminal."""

from __future__ import annotations

import pytest
from bson import ObjectId

from worker.core.ids import InvalidIdError, parse_id

HEX = "65f0c0ffee65f0c0ffee65f0"


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        (ObjectId(HEX), (ObjectId(HEX),)),
        (HEX, (ObjectId(HEX), HEX)),
        ("cow-7", ("cow-7",)),
        ("42", ("42", 42)),
        ("-42", ("-42", -42)),
        (42, (42,)),
        ("٤٢", ("٤٢",)),
    ],
)
def test_an_id_is_tried_as_what_it_may_be(raw: object, ids: tuple[object, ...]) -> None:
    """Text may stand for an ObjectId or a number."""
    assert parse_id(raw) == ids


@pytest.mark.parametrize("raw", ["", None, True, 1.5, 2**63, ["a"], {"$gt": ""}, "a\0b", "x" * 513])
def test_what_can_be_no_id_is_refused(raw: object) -> None:
    """Nothing that a query could take for an operator gets through."""
    with pytest.raises(InvalidIdError):
        parse_id(raw)
