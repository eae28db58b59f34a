"""What older programs and other hands left on documents, and ids of every type."""

from __future__ import annotations

from collections.abc import Mapping

import bson
import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from tests.contract.claims import EXPIRED, LEASE, MOOD, WHEN, claim, raw, save, settled
from worker.core.clock import after
from worker.core.documents import DocumentId, MediaDocument
from worker.core.ids import parse_id
from worker.database.store import Busy, DocumentStore, Finish

STRAYS: Mapping[str, object] = {
    "null": None,
    "a text": "published",
    "a number": 7,
    "a list": [1, "two"],
    "a list of objects": [{"rkey": "x", "status": "synced"}],
    "an empty object": {},
    "a legacy rkey": {"rkey": "3jzfcijpj2z2a"},
    "an rkey that is none": {"rkey": "../../etc"},
    "an unknown status": {"status": "published"},
    "a status that is no text": {"status": {"$gt": ""}},
    "a lease that is a text": {"lease": "mine"},
    "a lease without an end": {"lease": {"token": "t", "holder": "h"}},
    "a lease with an odd end": {"lease": {"token": "t", "until": "tomorrow"}},
    "a lease with an odd token": {"lease": {"token": 5, "until": WHEN}},
    "a lease that is a list": {"lease": [{"token": "t", "until": WHEN}]},
    "dates that are texts": {"attemptedAt": "2024-02-29", "retryAt": "soon", "syncedAt": 5},
    "a date beyond the calendar": {"attemptedAt": DatetimeMS(8_640_000_000_000_000)},
    "a date in a list": {"attemptedAt": [WHEN]},
    "counts that are texts": {"attempts": "3", "lost": True},
    "parts that are texts": {"blobs": "x", "links": 5, "error": "no", "again": "yes"},
    "blobs of nothing": {"blobs": {"thumbnail": None, "source": {"cid": 5, "size": "big"}}},
    "a time to wait for that is a text": {"heldUntil": "later", "retryAt": after(3600)},
}


@pytest.mark.parametrize("stray", STRAYS)
def test_whatever_stands_in_the_state_can_be_claimed(store: DocumentStore, stray: str) -> None:
    """No leftover keeps an item from being published."""
    item = save(store, atproto=STRAYS[stray])
    document = claim(store, item)
    assert isinstance(store.claim(MOOD, [item], holder="another", lease=LEASE), Busy)
    saved = store.save(MOOD, document, document.state._replace(reason="seen"))
    assert store.finish(MOOD, saved, settled(saved)) is Finish.CHANGED
    assert raw(store, item)["status"] == "synced"
    assert claim(store, item, lease=EXPIRED).state.reason == "seen"


def test_legacy_rkey_is_kept(store: DocumentStore) -> None:
    """The record that is already there is adopted, not doubled."""
    item = save(store, atproto={"rkey": "3jzfcijpj2z2a"})
    document = claim(store, item)
    assert (document.state.rkey, document.state.repo) == ("3jzfcijpj2z2a", None)
    store.finish(MOOD, document, settled(document))
    assert raw(store, item)["rkey"] == "3jzfcijpj2z2a"


def test_malformed_lease_that_still_runs_is_respected(store: DocumentStore) -> None:
    """Its token fits nobody, but whoever it is may be at work: waiting ends with the lease."""
    item = save(store, atproto={"lease": {"token": 5, "until": after(3600)}})
    assert isinstance(store.claim(MOOD, [item], holder="another", lease=LEASE), Busy)


@pytest.mark.parametrize(
    "content",
    [
        {"when": DatetimeMS(8_640_000_000_000_000)},
        {"when": DatetimeMS(-62_135_596_800_001)},
        {"mood": bson.Regex("calm"), "when": bson.Timestamp(1, 1)},
        {"mood": {"deep": [bson.Decimal128("1.5"), bson.Int64(5), bson.MaxKey()]}},
        {"user": 5},
        {"user": ["auth0|someone"]},
    ],
)
def test_content_of_any_type_can_be_claimed(
    store: DocumentStore, content: Mapping[str, object]
) -> None:
    """Whether it can be published is for the media type to say, in words that name the field."""
    item = save(store, **content)
    document = claim(store, item)
    assert store.finish(MOOD, document, settled(document)) is Finish.SETTLED


def test_text_that_is_no_utf8_can_be_claimed(store: DocumentStore) -> None:
    """As a driver that does not check would write it; the sweep goes through it as well."""
    item = ObjectId()
    encoded = bson.encode({"_id": item, "mood": "ABCD", "when": WHEN, "user": "auth0|someone"})
    broken = RawBSONDocument(encoded.replace(b"ABCD", b"A\xff\xfeD"))
    store.collection(MOOD).insert_one(broken)
    document = claim(store, item)
    assert document.fields.text("mood") == "A\ufffd\ufffdD"
    assert store.finish(MOOD, document, settled(document)) is Finish.SETTLED


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("item", [ObjectId(), "a text", "65f0c0ffee0102030405aabb", 7, -(2**62)])
def test_ids_of_every_type_are_found_by_their_text(store: DocumentStore, item: DocumentId) -> None:
    """Messages and terminals know texts alone."""
    save(store, _id=item)
    document = store.claim(MOOD, parse_id(str(item)), holder="message", lease=LEASE)
    assert isinstance(document, MediaDocument)
    assert isinstance(document.ref.id, type(item))
    assert document.ref.id == item


@pytest.mark.usefixtures("here")
def test_likeliest_of_two_ids_wins(store: DocumentStore) -> None:
    """Where a text and a number, or an ObjectId and its text, are both there."""
    hexadecimal = "65f0c0ffee0102030405ffff"
    for item in (12, "12", ObjectId(hexadecimal), hexadecimal):
        save(store, _id=item)
    likeliest: dict[str, DocumentId] = {"12": "12", hexadecimal: ObjectId(hexadecimal)}
    for text, item in likeliest.items():
        found = store.find(MOOD, parse_id(text))
        assert found is not None
        assert found.ref.id == item
        claimed = store.claim(MOOD, parse_id(text), holder="message", lease=LEASE)
        assert isinstance(claimed, MediaDocument)
        assert claimed.ref.id == item
    found = store.find(MOOD, parse_id(12))
    assert found is not None
    assert found.ref.id == 12
