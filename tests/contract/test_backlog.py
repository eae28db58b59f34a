"""What the sweep finds in a real MongoDB: every item that no message will come for."""

from __future__ import annotations

from datetime import timedelta

import bson
import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from tests.contract.items import (
    MOOD,
    PAINTING,
    SECOND,
    claim_in_batch,
    edit,
    give_account,
    save,
    settle,
    settle_and_edit,
    sweep,
)
from worker.core.clock import after, now
from worker.core.documents import DocumentId, Failure, ItemRef, MediaDocument, Status
from worker.database.store import Finish
from worker.media import MEDIA_TYPES, media_type
from worker.services import Services

DAY = timedelta(days=1)


def test_due_items_come_longest_waiting_first(here: Services) -> None:
    """Up to the limit, and none before its time."""
    waits = {seconds: save(here) for seconds in (30, 10, 50, 20, 40)}
    for seconds, ref in waits.items():
        settle(here, ref, retry_at=now() - timedelta(seconds=seconds))
    settle(here, save(here), retry_at=after(60))
    due = here.storage.backlog.find_due(MOOD, now(), 4)
    assert [owned.ref for owned in due] == [waits[seconds] for seconds in (50, 40, 30, 20)]


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_due_items_of_every_type_are_swept(here: Services, name: str) -> None:
    """Whatever their state says otherwise."""
    ref = save(here, media_type(name))
    settle(here, ref, status=Status.PARTIAL, retry_at=now() - SECOND)
    assert sweep(here) == [ref]


def test_item_whose_run_died_is_due_when_its_lease_ends(here: Services) -> None:
    """Killed with its worker, its message gone: the claim itself left the note."""
    dead, at_work = save(here), save(here)
    for ref, lease in ((dead, -1), (at_work, 100)):
        here.storage.store.claim(MOOD, [ref.id], holder="message", lease=lease)
    assert sweep(here) == [dead]


def test_a_new_item_in_a_batch_is_found_when_the_lease_of_the_batch_ends(here: Services) -> None:
    """The claim of a batch sets no status, as if nothing had looked at the item."""
    dead, at_work = saved_ago(here, DAY), saved_ago(here, 2 * DAY)
    claim_in_batch(here, dead, lease=-1)
    claim_in_batch(here, at_work)
    assert sweep(here, horizon_days=7) == [dead]


def test_settled_items_are_left_alone(here: Services) -> None:
    """Published, given up, taken down, nothing to publish: no sweep touches them."""
    failure = Failure("validate", "x", "x", permanent=True, at=now())
    settle(here, save(here))
    settle(here, save(here), status=Status.FAILED, error=failure)
    settle(here, save(here), status=Status.REMOVED, reason="deleted")
    settle(here, save(here), status=Status.SKIPPED, reason="guests_not_published")
    assert sweep(here) == []


def test_unseen_items_are_found_within_the_horizon(here: Services) -> None:
    """Not what is older, which is for a backfill, and not what a message is on its way for."""
    old, found, young = (saved_ago(here, age) for age in (8 * DAY, 6 * DAY, 5 * SECOND))
    assert sweep(here, horizon_days=7, grace=20) == [found]
    assert set(sweep(here, horizon_days=9, grace=0)) == {old, young}


def test_items_with_ids_of_their_own_are_unseen_by_their_date(here: Services) -> None:
    """No other id tells when its document was saved."""
    save(here, item="old", when=now() - 8 * DAY)
    found = save(here, item="found", when=now() - 6 * DAY)
    assert sweep(here, horizon_days=7, grace=20) == [found]


def test_an_item_that_bears_an_old_date_is_unseen_all_the_same(here: Services) -> None:
    """An import keeps the dates of its items, and is saved today."""
    found = save(here, when=now() - 900 * DAY)
    assert sweep(here) == [found]


def test_limit_of_unseen_items_spans_ids_of_every_type(here: Services) -> None:
    """ObjectIds and others are looked for in turn, and share the limit."""
    refs = [save(here), save(here), save(here, item="text"), save(here, item=5)]
    since, until = now() - DAY, now() + SECOND
    found = [here.storage.backlog.find_unseen(MOOD, since, until, limit) for limit in range(6)]
    assert [len(each) for each in found] == [0, 1, 2, 3, 4, 4]
    assert {owned.ref for owned in found[-1]} == set(refs)


def saved_ago(here: Services, age: timedelta) -> ItemRef:
    """Save an item so long ago."""
    moment = now() - age
    return save(here, item=ObjectId.from_datetime(moment), when=moment)


@pytest.mark.parametrize("atproto", [None, "published", 5, {}, {"rkey": "3jzfcijpj2z2a"}])
def test_leftovers_of_older_programs_count_as_unseen(here: Services, atproto: object) -> None:
    """Even where the sweep cannot put a mark: then they come again until a run made room."""
    ref, other = save(here), save(here)
    edit(here, ref, atproto=atproto)
    assert set(sweep(here)) == {ref, other}
    assert sweep(here) == ([] if isinstance(atproto, dict) else [ref])
    settle(here, ref)
    assert sweep(here) == []


def skip(here: Services, **fields: str | None) -> ItemRef:
    """Save a painting and have the engine skip it for want of an account."""
    ref = save(here, PAINTING, **fields)  # type: ignore[arg-type]
    outcome = here.sync.engine.sync("painting", ref.id, holder="message")
    assert (outcome.status, outcome.detail) == (Status.SKIPPED, "no_account")
    return ref


def test_skipped_items_come_back_when_the_account_appears(here: Services) -> None:
    """The user's own, and nobody else's."""
    adas = [skip(here, user="auth0|ada") for _ in range(3)]
    skip(here, user="auth0|bob")
    assert sweep(here) == []
    give_account(here, "auth0|ada")
    assert set(sweep(here)) == set(adas)
    assert sweep(here) == []


@pytest.mark.parametrize("user", [None, "", "art-guest"])
def test_guests_items_come_back_when_the_guest_account_appears(
    here: Services, user: str | None
) -> None:
    """Their documents name no user, or an empty one, or the guest by name."""
    guests = skip(here, user=user)
    skip(here, user="auth0|bob")
    assert sweep(here) == []
    give_account(here, "art-guest")
    assert sweep(here) == [guests]
    assert sweep(here) == []


def test_item_that_is_skipped_again_waits_again(here: Services) -> None:
    """An account that came and went leaves the item as it was."""
    ref = skip(here)
    give_account(here, "auth0|ada")
    assert sweep(here) == [ref]
    here.storage.database["users"].delete_many({})
    outcome = here.sync.engine.sync("painting", ref.id, holder="message")
    assert outcome.status is Status.SKIPPED
    assert sweep(here) == []
    give_account(here, "auth0|ada")
    assert sweep(here) == [ref]


def test_edit_whose_message_was_lost_is_found(here: Services) -> None:
    """Of a published item, a removed one and one that was given up."""
    edited = [save(here) for _ in range(3)]
    failure = Failure("validate", "x", "x", permanent=True, at=now())
    settle(here, edited[0])
    settle(here, edited[1], status=Status.REMOVED)
    settle(here, edited[2], status=Status.FAILED, error=failure)
    settle(here, save(here))
    assert sweep(here) == []
    for ref in edited:
        edit(here, ref, mood="edited")
    assert sweep(here) == edited
    assert sweep(here) == []


def test_edit_that_no_record_shows_is_no_edit(here: Services) -> None:
    """Hits, likes and whatever else the platform counts."""
    ref = save(here)
    settle(here, ref)
    edit(here, ref, hits=5, **{"stats.seen": 7})
    assert sweep(here) == []


def test_edit_during_a_run_is_left_to_the_run(here: Services) -> None:
    """Whoever holds the document compares at the end."""
    ref = save(here)
    settle(here, ref)
    claimed = here.storage.store.claim(MOOD, [ref.id], holder="message", lease=100)
    assert isinstance(claimed, MediaDocument)
    edit(here, ref, mood="edited")
    assert sweep(here) == []
    assert here.storage.store.finish(MOOD, claimed, claimed.state) is Finish.CHANGED


IDS: tuple[DocumentId, ...] = (-3, 7, 2**40, "a", "b", ObjectId(), ObjectId())


@pytest.mark.parametrize("window", [1, 2, 3, 7, 8])
def test_window_rolls_over_ids_of_every_type(here: Services, window: int) -> None:
    """Numbers, texts and ObjectIds: each is looked at once a round, and rounds follow rounds."""
    refs = [save(here, item=item) for item in IDS]
    settle_and_edit(here, refs)
    steps = len(IDS) // window + 1
    for _ in range(2):
        found = [here.storage.backlog.find_changed(MOOD, window) for _ in range(steps)]
        assert [owned.ref.id for step in found for owned in step] == list(IDS)
        assert all(len(step) <= window for step in found)


def test_window_goes_on_where_documents_were_deleted(here: Services) -> None:
    """The document that the window ended at may be gone by the next sweep."""
    refs = [save(here, item=number) for number in range(1, 7)]
    settle_and_edit(here, refs)
    assert [owned.ref for owned in here.storage.backlog.find_changed(MOOD, 2)] == refs[:2]
    here.storage.store.collection(MOOD).delete_many({"_id": {"$in": [2, 3]}})
    assert [owned.ref for owned in here.storage.backlog.find_changed(MOOD, 2)] == refs[3:5]


def test_document_that_cannot_be_read_stops_no_sweep(here: Services) -> None:
    """A date beyond the calendar, a text that is no UTF-8: the others are found all the same."""
    edit(here, save(here, item=1), when=DatetimeMS(8_640_000_000_000_000))
    encoded = bson.encode({"_id": 2, "mood": "ABCD", "when": now() - SECOND})
    broken = RawBSONDocument(encoded.replace(b"ABCD", b"A\xff\xfeD"))
    here.storage.store.collection(MOOD).insert_one(broken)
    refs = [ItemRef("mood", 1), ItemRef("mood", 2), save(here, item=3)]
    settle_and_edit(here, refs)
    assert sweep(here) == refs
