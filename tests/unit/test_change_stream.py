"""What of a change stream goes on the queue, and when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bson import ObjectId, Timestamp

from worker.database.mongo import RawDocument
from worker.media import MEDIA_TYPES, MediaType
from worker.operations.watch import sender
from worker.operations.watch.change_stream import Change, StreamReset, parse_event, pipeline
from worker.operations.watch.sender import ChangeBatch

MOOD = MEDIA_TYPES["mood"]
ITEM = ObjectId("65f0c0ffee65f0c0ffee65f0")
AT = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
BY_COLLECTION = {kind.collection: kind for kind in MEDIA_TYPES.values()}


def event(operation: str, **parts: object) -> RawDocument:
    """Return an event as the pipeline lets it pass."""
    return {
        "operationType": operation,
        "ns": {"db": "media", "coll": "moods"},
        "documentKey": {"_id": ITEM},
        "clusterTime": Timestamp(AT, 1),
        **parts,
    }


def test_a_save_is_a_change_of_its_document() -> None:
    """Whatever kind of save it was."""
    for operation in ("insert", "update", "replace"):
        assert parse_event(event(operation), BY_COLLECTION) == Change(MOOD, ITEM, AT)


def test_a_deletion_tells_whose_it_was_if_anybody_knows() -> None:
    """A pre-image without a user is that of a guest's; none is none."""
    known = parse_event(
        event("delete", fullDocumentBeforeChange={"user": "auth0|ada"}), BY_COLLECTION
    )
    assert known == Change(MOOD, ITEM, AT, is_gone=True, before={"user": "auth0|ada"})
    guests = parse_event(event("delete", fullDocumentBeforeChange={}), BY_COLLECTION)
    assert guests == Change(MOOD, ITEM, AT, is_gone=True, before={})
    for nothing in ({}, {"fullDocumentBeforeChange": None}):
        unknown = parse_event(event("delete", **nothing), BY_COLLECTION)
        assert unknown == Change(MOOD, ITEM, AT, is_gone=True)


def test_dropping_is_an_upheaval() -> None:
    """Of a collection, or of all."""
    assert parse_event(event("drop"), BY_COLLECTION) == StreamReset("moods: drop")
    whole: RawDocument = {"operationType": "dropDatabase", "ns": {"db": "media"}}
    assert parse_event(whole, BY_COLLECTION) == StreamReset("the database: dropDatabase")


def test_the_pipeline_asks_for_every_type() -> None:
    """A new one needs no change here."""
    stage = str(pipeline(MEDIA_TYPES.values())[0])
    assert all(f"'{kind.collection}'" in stage for kind in MEDIA_TYPES.values())


@pytest.mark.parametrize("kind", MEDIA_TYPES.values(), ids=MEDIA_TYPES)
def test_the_pipeline_asks_for_what_is_read_and_nothing_more(kind: MediaType) -> None:
    """Among it what hides an item; not what the platform counts and draws."""
    stage = str(pipeline([kind])[0])
    hiding = ("nuked", "deleted", "private", "draft", "hidden", "visibility", "status")
    assert all(f"'{name}'" in stage for name in ("user", *kind.fields, *hiding))
    ignored = ("hits", "lastAccessed", "updatedAt", "completedAt", "wip", "atproto")
    assert not any(f"'{name}'" in stage for name in ignored)


def test_of_several_changes_of_a_document_the_last_is_sent() -> None:
    """In the place of its first; `7` and 7 are two."""
    batch = ChangeBatch()
    first, gone = Change(MOOD, ITEM, AT), Change(MOOD, ITEM, AT, is_gone=True)
    others = [Change(MOOD, "7", AT), Change(MOOD, 7, AT)]
    for change in (first, *others, gone):
        batch.add(change)
    assert batch.drain() == [gone, *others]
    assert not batch.drain()


def test_a_burst_is_sent_when_nothing_follows_or_it_is_large() -> None:
    """And never when it is empty."""
    batch = ChangeBatch()
    assert not batch.is_due(quiet=True)
    batch.add(Change(MOOD, ITEM, AT))
    assert batch.is_due(quiet=True)
    for number in range(sender._MAX_BATCH):
        batch.add(Change(MOOD, number, AT))
    assert batch.is_due(quiet=False)
