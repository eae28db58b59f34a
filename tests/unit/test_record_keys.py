"""Record keys: known TIDs, the edges of their range, and the syntax of keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from bson import Int64, ObjectId

from tests.tids import tid_micros
from worker.core.documents import DocumentId
from worker.core.record_keys import is_rkey, is_tid, next_tid, tid_for

WHEN = datetime(2024, 2, 29, 23, 59, 59, 123000, tzinfo=UTC)
ZERO = "2222222222222"
LAST = "bzzzzzzzzzzzz"


@pytest.mark.parametrize(
    ("document_id", "tid"),
    [
        (ObjectId("65f0c0ffee0102030405aabb"), "3knjniimztepv"),
        (ObjectId("65f0c0ffee0102030405aabc"), "3knjniimztepw"),
        (ObjectId("000000000000000000000000"), "22222222k2222"),
        (ObjectId("ffffffffffffffffffffffff"), "5u4bzzzbzhzzz"),
        ("abc", "3kmlsbcwjvob3"),
        (7, "3kmlsbcwjoafn"),
        ("", "3kmlsbcwjropl"),
        ("\ud800", "3kmlsbcwkga2x"),
    ],
)
def test_an_id_always_leads_to_the_same_tid(document_id: DocumentId, tid: str) -> None:
    """The formula is fixed: published keys were made by it, in any process."""
    assert tid_for(document_id, WHEN) == tid


def test_ids_of_different_types_are_different_ids() -> None:
    """MongoDB tells 7 from "7", and an ObjectId from its text; so do their keys."""
    text = "65f0c0ffee0102030405aabb"
    assert tid_for(7, WHEN) != tid_for("7", WHEN)
    assert tid_for(7, WHEN) == tid_for(Int64(7), WHEN)
    assert tid_for(text, WHEN) != tid_for(ObjectId(text), WHEN)


def test_dates_are_compared_in_utc() -> None:
    """A naive date, as PyMongo returns it, is UTC; any other zone is converted."""
    elsewhere = WHEN.astimezone(timezone(timedelta(hours=-7)))
    assert tid_for("abc", WHEN) == tid_for("abc", WHEN.replace(tzinfo=None))
    assert tid_for("abc", WHEN) == tid_for("abc", elsewhere)


def test_dates_before_1970_are_moved_to_its_first_millisecond() -> None:
    """A TID cannot be negative."""
    assert tid_micros(tid_for("abc", datetime(1812, 6, 24, tzinfo=UTC))) < 1000


def test_dates_beyond_the_range_are_moved_to_its_end_with_room_to_bump() -> None:
    """The year 9999 is as valid a date as any, and two documents may share it."""
    tid = tid_for("abc", datetime.max.replace(tzinfo=UTC))
    assert 2**53 - 2000 < tid_micros(tid) < 2**53
    assert is_tid(next_tid(tid))


@pytest.mark.parametrize(
    ("tid", "following"),
    [
        (ZERO, "2222222222223"),
        ("222222222222z", "2222222222232"),
        ("3knjniimztepv", "3knjniimztepw"),
        ("3zzzzzzzzzzzz", "4222222222222"),
        ("7zzzzzzzzzzzz", "a222222222222"),
        ("bzzzzzzzzzzzy", LAST),
    ],
)
def test_bump_gives_the_next_tid(tid: str, following: str) -> None:
    """Carries run through all the digits."""
    assert next_tid(tid) == following


@pytest.mark.parametrize(
    "tid", [LAST, "jzzzzzzzzzzzz", "", "self", "3jzfcijpj2z2", "3jzfcijpj2z21"]
)
def test_bump_refuses_what_has_no_next_tid(tid: str) -> None:
    """The last TID and what is no TID are told apart from success."""
    with pytest.raises(ValueError, match="TID"):
        next_tid(tid)


@pytest.mark.parametrize(
    ("tid", "expected"),
    [
        (ZERO, 0),
        (LAST, 2**53 - 1),
        # the example of the specification: 30 June 2023
        ("3jzfcijpj2z2a", 1688137381887007),
    ],
)
def test_the_time_of_a_tid_can_be_read(tid: str, expected: int) -> None:
    """Microseconds since 1970, without the clock identifier."""
    assert tid_micros(tid) == expected


TIDS = ("3jzfcijpj2z2a", "7777777777777", "3zzzzzzzzzzzz", ZERO, "j" * 13)
NO_TIDS = (
    *("", "222", "3jzfcijpj2z2", "3jzfcijpj2z2aa"),
    *("3jzfcijpj2z21", "0000000000000", "3JZFCIJPJ2Z2A", "3jzf-cij-pj2z-2a"),
    *("kjzfcijpj2z2a", "zzzzzzzzzzzzz"),
    *("3jzfcijpj2z2a\n", "3jzfcijpj2z2\N{ARABIC-INDIC DIGIT THREE}"),
)


@pytest.mark.parametrize("text", [*TIDS, *NO_TIDS])
def test_tid_is_thirteen_sortable_digits_of_which_the_first_is_low(text: str) -> None:
    """Length, alphabet, capitals and the top bit all count."""
    assert is_tid(text) == (text in TIDS)


RKEYS = (
    *("3jui7kd54zh2y", "self", "example.com", "~1.2-3_", "dHJ1ZQ", "pre:fix", "_", "..."),
    "x" * 512,
)
NO_RKEYS = (
    *("", ".", "..", "x" * 513),
    *("alpha/beta", "#extra", "@handle", "any space", "any+space", "number[3]", "number(3)"),
    *('"quote"', "dHJ1ZQ==", "100%25"),
    *("self\n", "\N{ARTIST PALETTE}", "\N{FULLWIDTH DIGIT ONE}"),
)


@pytest.mark.parametrize("text", [*RKEYS, *NO_RKEYS])
def test_record_key_has_only_the_specified_characters_and_lengths(text: str) -> None:
    """Older programs wrote keys of any legal kind; nothing else has a place in a path."""
    assert is_rkey(text) == (text in RKEYS)
