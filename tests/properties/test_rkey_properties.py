"""What holds for every record key that is made from an id."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from bson import ObjectId
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.tids import tid_micros
from worker.core.record_keys import is_rkey, is_tid, next_tid, tid_for

TID = re.compile("[234567a-j][234567a-z]{12}")
WHEN = datetime(2024, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2255, 6, 5, tzinfo=UTC)


def spell(number: int) -> str:
    """Write a 64-bit integer in 13 sortable digits."""
    return "".join("234567abcdefghijklmnopqrstuvwxyz"[number >> s & 31] for s in range(60, -5, -5))


object_ids = st.binary(min_size=12, max_size=12).map(ObjectId)
processes = st.binary(min_size=5, max_size=5)
counters = st.integers(0, 2**24 - 1)
seconds = st.integers(0, 2**32 - 1)
other_ids = st.text() | st.integers(-(2**63), 2**63 - 1)
dates = st.datetimes(timezones=st.just(UTC))
tids = st.integers(0, 2**63 - 2).map(spell)


def object_id(second: int, process: bytes, counter: int) -> ObjectId:
    """Return an ObjectId made of its three parts."""
    return ObjectId(second.to_bytes(4) + process + counter.to_bytes(3))


@given(object_ids | other_ids, dates)
def test_every_id_and_date_lead_to_a_valid_tid(
    document_id: ObjectId | str | int, when: datetime
) -> None:
    """Whatever the id and the date, the key is legal, below 2^53 microseconds and repeatable."""
    tid = tid_for(document_id, when)
    assert TID.fullmatch(tid)
    assert tid[0] in "234567ab"
    assert is_tid(tid)
    assert is_rkey(tid)
    assert tid_micros(tid) < 2**53
    assert tid_for(document_id, when) == tid


@given(object_ids)
def test_the_tid_of_an_object_id_stays_in_its_second(document_id: ObjectId) -> None:
    """The key tells when the document was made."""
    second = int.from_bytes(document_id.binary[:4])
    assert tid_micros(tid_for(document_id, WHEN)) // 10**6 == second


@given(object_ids, object_ids)
def test_keys_follow_the_time_of_object_ids(one: ObjectId, other: ObjectId) -> None:
    """A repository grows at its end, whichever process made the documents."""
    early, late = sorted((one, other), key=lambda item: item.generation_time)
    assume(early.generation_time < late.generation_time)
    assert tid_for(early, WHEN) < tid_for(late, WHEN)


@given(seconds, processes, counters, counters)
def test_object_ids_of_one_process_and_second_keep_their_order(
    second: int, process: bytes, counter: int, another: int
) -> None:
    """Two ids of one process never meet, and their counters keep them in order."""
    first, then = (tid_for(object_id(second, process, n), WHEN) for n in (counter, another))
    assert (first < then) == (counter < another)
    assert (first == then) == (counter == another)


@given(other_ids, other_ids, st.datetimes(EPOCH.replace(tzinfo=None), LATEST.replace(tzinfo=None)))
def test_other_ids_follow_their_dates_by_the_millisecond(
    document_id: str | int, other: str | int, when: datetime
) -> None:
    """A document saved a millisecond later has a later key."""
    tid = tid_for(document_id, when)
    millis = (when.replace(tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)
    assert tid_micros(tid) // 1000 == millis
    assert tid < tid_for(other, when + timedelta(milliseconds=1))


@given(tids)
def test_bump_gives_the_very_next_tid(tid: str) -> None:
    """The next key is larger, valid, and nothing lies between."""
    following = next_tid(tid)
    assert following > tid
    assert TID.fullmatch(following)
    assert 0 <= tid_micros(following) - tid_micros(tid) <= 1


@given(object_ids | other_ids, dates)
def test_a_key_can_be_bumped_many_times(document_id: ObjectId | str | int, when: datetime) -> None:
    """Even at the end of the range there is room for collisions."""
    key = tid_for(document_id, when)
    keys = [key]
    for _ in range(20):
        keys.append(next_tid(keys[-1]))
    assert keys == sorted(set(keys))


@given(st.text(max_size=8) | st.text("azAZ09._:~-/+%", max_size=8), st.integers(1, 100))
def test_a_record_key_is_judged_by_the_letter(text: str, times: int) -> None:
    """The rule, said another way: few characters, not too many of them, and no dots alone."""
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:~-")
    key = text * times
    legal = 1 <= len(key) <= 512 and set(key) <= allowed and key not in (".", "..")
    assert is_rkey(key) == legal
