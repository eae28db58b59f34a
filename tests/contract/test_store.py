"""Claims on documents, with a real MongoDB and many who want the same one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from bson import ObjectId

from tests.contract.claims import (
    EXPIRED,
    LEASE,
    MOOD,
    change,
    claim,
    failed,
    raw,
    save,
    settled,
)
from worker.core.clock import after, now
from worker.core.documents import Failure, MediaDocument, Status, SyncState
from worker.database.store import Busy, DocumentStore, Finish, LeaseLostError


def test_claim_takes_a_lease_and_counts_the_attempt(store: DocumentStore) -> None:
    """What the sweep needs to find the document again is there before the work begins."""
    item = save(store)
    before = now()
    document = claim(store, item, holder="message")
    assert document.ref.id == item
    state = raw(store, item)
    assert state["attempts"] == document.state.attempts == 1
    assert state["status"] == "pending"
    assert state["fingerprint"] == document.fingerprint
    lease = document.state.lease
    assert lease is not None
    assert state["lease"] == {"token": lease.token, "holder": "message", "until": lease.until}
    assert state["retryAt"] == lease.until >= before + timedelta(seconds=LEASE)


def test_claim_of_no_document_is_none(store: DocumentStore) -> None:
    """It was deleted before its message came."""
    assert store.claim(MOOD, [ObjectId()], holder="message", lease=LEASE) is None


def test_second_claim_has_to_wait_and_tells_the_first(store: DocumentStore) -> None:
    """The message that came during the run is not lost: the run's end reports it."""
    item = save(store)
    first = claim(store, item)
    second = store.claim(MOOD, [item], holder="another", lease=LEASE)
    assert first.state.lease is not None
    assert second == Busy(first.state.lease.until, is_held=True)
    assert store.finish(MOOD, first, settled(first)) is Finish.CHANGED
    again = claim(store, item)
    assert store.finish(MOOD, again, settled(again)) is Finish.SETTLED


def test_message_from_before_the_claim_does_not_count_twice(store: DocumentStore) -> None:
    """What another run was told does not send the next one round again."""
    item = save(store)
    lost = claim(store, item)
    assert isinstance(store.claim(MOOD, [item], holder="another", lease=LEASE), Busy)
    assert lost.state.lease is not None
    change(store, item, {"atproto.lease.until": now()})
    taken = claim(store, item)
    assert store.finish(MOOD, taken, settled(taken)) is Finish.SETTLED


def test_expired_lease_is_taken_over_and_its_run_shut_out(store: DocumentStore) -> None:
    """The slow one can neither save nor finish, and changes nothing by trying."""
    item = save(store)
    slow = claim(store, item, lease=EXPIRED)
    quick = claim(store, item)
    kept = raw(store, item)
    with pytest.raises(LeaseLostError) as caught:
        store.save(MOOD, slow, slow.state._replace(rkey="slow"))
    assert (caught.value.step, caught.value.code) == ("store", "lease_lost")
    assert store.finish(MOOD, slow, settled(slow)) is Finish.SUPERSEDED
    assert raw(store, item) == kept
    assert store.finish(MOOD, quick, settled(quick)) is Finish.SETTLED


def test_finished_run_can_do_nothing_more(store: DocumentStore) -> None:
    """Its token went with the lease."""
    item = save(store)
    document = claim(store, item)
    assert store.finish(MOOD, document, settled(document)) is Finish.SETTLED
    with pytest.raises(LeaseLostError):
        store.save(MOOD, document, document.state)
    assert store.finish(MOOD, document, failed(document)) is Finish.SUPERSEDED
    assert raw(store, item)["status"] == "synced"


def test_document_that_was_never_claimed_cannot_be_written(store: DocumentStore) -> None:
    """No lease, no writing: the empty token fits nobody."""
    item = save(store)
    document = store.find(MOOD, [item])
    assert document is not None
    with pytest.raises(LeaseLostError):
        store.save(MOOD, document, SyncState(status=Status.SYNCED))
    assert store.finish(MOOD, document, SyncState(status=Status.SYNCED)) is Finish.SUPERSEDED


def test_message_delivered_again_takes_over_at_once(store: DocumentStore) -> None:
    """Its earlier run is dead; how often that happened is counted."""
    item = save(store)
    for lost in range(4):
        document = claim(store, item, holder="message")
        assert document.state.lost == lost
    assert store.finish(MOOD, document, settled(document)) is Finish.SETTLED
    assert "lost" in raw(store, item)


def test_run_that_asked_for_the_next_one_is_not_lost(store: DocumentStore) -> None:
    """It was alive to ask: MongoDB was away when it was to give the document back."""
    item = save(store)
    for holder in ("message", "1/message", "2/message", "3/message"):
        assert claim(store, item, holder=holder).state.lost == 0
    assert claim(store, item, holder="3/message").state.lost == 1
    assert isinstance(store.claim(MOOD, [item], holder="1/another", lease=LEASE), Busy)


def test_runs_that_expired_count_as_lost_until_an_edit(store: DocumentStore) -> None:
    """Whichever message takes over. An image that killed workers may have been replaced."""
    item = save(store)
    for lost in range(3):
        assert claim(store, item, lease=EXPIRED).state.lost == lost
    change(store, item, {"mood": "better"})
    assert claim(store, item).state.lost == 0


def test_attempts_count_up_while_a_run_fails(store: DocumentStore) -> None:
    """Failing with the same content uses up one attempt after the other."""
    item = save(store)
    for attempt in (1, 2, 3):
        document = claim(store, item)
        assert document.state.attempts == attempt
        store.finish(MOOD, document, failed(document))


def test_attempts_start_again_after_success_and_after_an_edit(store: DocumentStore) -> None:
    """Old failures say nothing of new content."""
    item = save(store)
    for end in (failed, failed):
        document = claim(store, item)
        store.finish(MOOD, document, end(document))
    change(store, item, {"mood": "edited"})
    document = claim(store, item)
    assert document.state.attempts == 1
    store.finish(MOOD, document, settled(document))
    assert claim(store, item).state.attempts == 1


def test_rate_limited_item_is_left_alone_until_its_time(store: DocumentStore) -> None:
    """A message that comes earlier does not become a request."""
    item = save(store)
    document = claim(store, item)
    until = after(3600)
    waiting = failed(document, "rate_limited")._replace(retry_at=until, held_until=until)
    store.finish(MOOD, document, waiting)
    told = store.claim(MOOD, [item], holder="early", lease=LEASE)
    assert told == Busy(until, is_held=False)
    change(store, item, {"atproto.heldUntil": now() - timedelta(seconds=1)})
    assert claim(store, item).state.attempts == 2


@pytest.mark.parametrize(
    ("step", "waits"), [("upload", False), ("write", False), ("remove", True), ("read", True)]
)
def test_removal_of_a_hidden_item_waits_only_for_its_own_calls(
    store: DocumentStore, step: str, *, waits: bool
) -> None:
    """An upload may be held for a day; the takedown must not be."""
    item = save(store)
    document = claim(store, item)
    until = after(3600)
    error = Failure(step, "rate_limited", "not now", permanent=False, at=now())
    waiting = failed(document)._replace(error=error, retry_at=until, held_until=until)
    store.finish(MOOD, document, waiting)
    change(store, item, {"nuked": True})
    claimed = store.claim(MOOD, [item], holder="takedown", lease=LEASE)
    assert isinstance(claimed, Busy) is waits


def test_message_that_only_retries_leaves_an_item_that_is_not_due(store: DocumentStore) -> None:
    """Another message has tried it meanwhile. An edit or an operator need not wait."""
    item = save(store)
    document = claim(store, item)
    until = after(3600)
    store.finish(MOOD, document, failed(document)._replace(retry_at=until))
    told = store.claim(MOOD, [item], holder="again", lease=LEASE, only_if_due=True)
    assert told == Busy(until, is_held=False)
    assert claim(store, item).state.attempts == 2
    change(store, item, {"atproto.retryAt": now(), "atproto.lease.until": now()})
    taken = store.claim(MOOD, [item], holder="again", lease=LEASE, only_if_due=True)
    assert isinstance(taken, MediaDocument)


def test_many_claims_of_one_document_have_one_winner_at_a_time(store: DocumentStore) -> None:
    """Twelve threads, one document: never two at work, and whoever lost was heard."""
    item = save(store)
    at_work = threading.Semaphore(1)
    seen = threading.Barrier(12)

    def run(number: int) -> tuple[bool, Finish | None]:
        seen.wait()
        claimed = store.claim(MOOD, [item], holder=f"racer {number}", lease=LEASE)
        if not isinstance(claimed, MediaDocument):
            return False, None
        assert at_work.acquire(blocking=False)
        state = settled(store.save(MOOD, claimed, claimed.state._replace(reason=str(number))))
        at_work.release()
        return True, store.finish(MOOD, claimed, state)

    with ThreadPoolExecutor(12) as pool:
        ends = list(pool.map(run, range(12)))
    winners = [finish for won, finish in ends if won]
    assert winners
    assert Finish.SUPERSEDED not in winners
    assert "lease" not in raw(store, item)


def test_many_claims_of_a_dead_runs_document_have_one_winner(store: DocumentStore) -> None:
    """The expired lease can be taken once."""
    item = save(store)
    claim(store, item, lease=EXPIRED)
    seen = threading.Barrier(8)

    def take(number: int) -> bool:
        seen.wait()
        claimed = store.claim(MOOD, [item], holder=f"heir {number}", lease=LEASE)
        return isinstance(claimed, MediaDocument)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1
    assert raw(store, item)["attempts"] == 1
    assert raw(store, item)["lost"] == 1
