"""Corrections: a state is made to say what was seen in the repo, where no run is at work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pytest

from tests.contract.claims import MOOD, change, claim, numbers, raw, save, settled
from worker.core.clock import after, now
from worker.core.documents import BlobState, DocumentId, MediaDocument
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.database.store import DocumentStore

DID = "did:plc:corrected"


@pytest.fixture
def state_updates(store: DocumentStore) -> StateUpdates:
    """Corrections of the shared database."""
    return StateUpdates(store)


def read(store: DocumentStore, item: DocumentId) -> MediaDocument:
    """Read a document as whoever found the fault did."""
    document = store.find(MOOD, [item])
    assert document is not None
    return document


def wrong(
    store: DocumentStore,
    item: DocumentId,
    cid: str | None = "bafynew",
    blobs: Mapping[str, BlobState] | None = None,
) -> StateUpdate:
    """Return the correction of a document: another key than ever, at this version."""
    rkey = f"3key{next(numbers)}"
    return StateUpdate(read(store, item), DID, rkey, cid, blobs)


def test_a_state_learns_where_its_record_is(
    store: DocumentStore, state_updates: StateUpdates
) -> None:
    """A document that nobody has looked at stays one; it only knows more."""
    item = save(store)
    found = wrong(store, item)
    assert state_updates.apply(MOOD, [found], retry_at=None) == 1
    uri = f"at://{DID}/{MOOD.nsid}/{found.rkey}"
    where = {"repo": DID, "did": DID, "rkey": found.rkey}
    assert raw(store, item) == {**where, "cid": "bafynew", "uri": uri}


def test_a_state_learns_the_blobs_of_its_record(
    store: DocumentStore, state_updates: StateUpdates
) -> None:
    """They have no source: the next run names it."""
    item = save(store)
    blobs = {"thumbnail": BlobState("bafkrei", "image/png", 7)}
    state_updates.apply(MOOD, [wrong(store, item, blobs=blobs)], retry_at=None)
    saved = {"status": "uploaded", "cid": "bafkrei", "mimeType": "image/png", "size": 7}
    assert raw(store, item)["blobs"] == {"thumbnail": saved}
    assert read(store, item).state.blobs == blobs


def test_a_state_learns_that_its_record_is_gone(
    store: DocumentStore, state_updates: StateUpdates
) -> None:
    """It keeps the key, and what blobs there are unless those went as well."""
    blobs = {"thumbnail": {"status": "uploaded", "cid": "bafkrei"}}
    known = {"status": "synced", "cid": "bafyold", "uri": "at://old", "blobs": blobs}
    choices: list[Mapping[str, BlobState] | None] = [None, {}]
    for emptied in choices:
        item = save(store, atproto=dict(known))
        gone = wrong(store, item, None, emptied)
        assert state_updates.apply(MOOD, [gone], retry_at=now()) == 1
        state = raw(store, item)
        assert (state["status"], state["rkey"]) == ("pending", gone.rkey)
        assert not state.keys() & {"cid", "uri"}
        assert ("blobs" in state) is (emptied is None)
        assert isinstance(state["retryAt"], datetime)


def test_without_a_time_status_and_time_stay(
    store: DocumentStore, state_updates: StateUpdates
) -> None:
    """Whoever asked for it goes on with the documents itself."""
    item = save(store, atproto={"status": "failed", "retryAt": after(60), "reason": "x"})
    before = raw(store, item)
    state_updates.apply(MOOD, [wrong(store, item)], retry_at=None)
    state = raw(store, item)
    assert {name: state[name] for name in before} == before


def test_what_a_run_holds_is_left_to_it(store: DocumentStore, state_updates: StateUpdates) -> None:
    """It reads the repo itself; only a dead run's document is corrected."""
    held, dead = save(store), save(store)
    claim(store, held)
    claim(store, dead, lease=-1)
    found = [wrong(store, held), wrong(store, dead)]
    assert state_updates.apply(MOOD, found, retry_at=now()) == 1
    assert "cid" not in raw(store, held)
    assert raw(store, dead)["cid"] == "bafynew"


def test_what_a_run_has_held_since_is_left_alone(
    store: DocumentStore, state_updates: StateUpdates
) -> None:
    """What was seen is old then."""
    item = save(store)
    found = wrong(store, item)
    claimed = claim(store, item)
    store.finish(MOOD, claimed, settled(claimed))
    before = raw(store, item)
    assert state_updates.apply(MOOD, [found], retry_at=now()) == 0
    assert raw(store, item) == before


def test_what_is_no_longer_there_is_not_counted(
    store: DocumentStore, state_updates: StateUpdates
) -> None:
    """Nor is it made anew."""
    item = save(store)
    found = wrong(store, item)
    store.collection(MOOD).delete_one({"_id": item})
    assert state_updates.apply(MOOD, [found], retry_at=now()) == 0
    assert store.find(MOOD, [item]) is None


def test_a_key_that_another_document_has_stays_with_that_one(
    store: DocumentStore, state_updates: StateUpdates
) -> None:
    """Its neighbours are corrected all the same."""
    holder, claimant, third = save(store), save(store), save(store)
    first = wrong(store, holder)
    state_updates.apply(MOOD, [first], retry_at=None)
    taken = StateUpdate(read(store, claimant), DID, first.rkey, "bafynew")
    assert state_updates.apply(MOOD, [taken, wrong(store, third)], retry_at=None) == 1
    assert raw(store, third)["cid"] == "bafynew"
    assert read(store, claimant).state.cid is None


@pytest.mark.parametrize("odd", [None, "published", 5, [1]])
def test_room_is_made_in_what_cannot_hold_a_state(
    store: DocumentStore, state_updates: StateUpdates, odd: object
) -> None:
    """Older programs left such things."""
    item = save(store)
    change(store, item, {"atproto": odd})
    assert state_updates.apply(MOOD, [wrong(store, item)], retry_at=None) == 1
    assert raw(store, item)["cid"] == "bafynew"


def test_nothing_to_correct_is_nothing_done(state_updates: StateUpdates) -> None:
    """Not even a call."""
    assert state_updates.apply(MOOD, [], retry_at=now()) == 0
