"""Trying again what was given up: the state it gets in a real MongoDB, and the messages for it."""

from __future__ import annotations

import pytest
from bson import ObjectId

from tests.contract.failing import fail
from tests.contract.items import MOOD, PAINTING, save, settle, state_of
from worker.core.clock import after, now
from worker.core.documents import DocumentId, MediaDocument, Status
from worker.database.leases import unchanged_since
from worker.database.store import Finish
from worker.media import MEDIA_TYPES, media_type
from worker.operations.status import RetryBatch, RetryFailed
from worker.services import Services

PIECE = media_type("piece")


@pytest.fixture
def retry_failed(here: Services) -> RetryFailed:
    """The way to have items of an empty database tried again."""
    return RetryFailed(here.store, here.backlog, here.lexicons, requeue=300)


def test_a_revived_item_has_all_its_attempts_again(here: Services) -> None:
    """It is pending, its error is no more for good, and a sweep finds it at the time given."""
    ref = fail(here, attempts=24, lost=3, rkey="here", repo="did:plc:ada")
    again = after(300)
    assert here.backlog.reset_attempts(MOOD, [ref.id], again) == 1
    document = here.store.find(MOOD, [ref.id])
    assert document is not None
    state = document.state
    assert (state.status, state.attempts, state.lost) == (Status.PENDING, 0, 0)
    assert (state.retry_at, state.rkey, state.lease) == (again, "here", None)
    assert state.error is not None
    assert (state.error.code, state.error.permanent) == ("field_invalid", False)
    claimed = here.store.claim(MOOD, [ref.id], holder="message", lease=100)
    assert isinstance(claimed, MediaDocument)
    assert (claimed.state.attempts, claimed.state.lost) == (1, 0)


@pytest.mark.parametrize("status", [Status.SYNCED, Status.SKIPPED, Status.REMOVED])
def test_what_is_settled_is_not_revived(here: Services, status: Status) -> None:
    """Nor what no run has looked at: it has all its attempts."""
    ref, unseen = save(here), save(here)
    settle(here, ref, status=status)
    before = state_of(here, ref)
    assert here.backlog.reset_attempts(MOOD, [ref.id, unseen.id], now()) == 0
    assert (state_of(here, ref), state_of(here, unseen)) == (before, None)


def test_what_a_run_holds_is_left_to_it(here: Services, retry_failed: RetryFailed) -> None:
    """That run is the attempt; what it leaves behind is its own."""
    ref = fail(here)
    claimed = here.store.claim(MOOD, [ref.id], holder="message", lease=100)
    assert isinstance(claimed, MediaDocument)
    assert here.backlog.reset_attempts(MOOD, [ref.id], now()) == 0
    assert list(retry_failed.find_failed(MOOD)) == []
    assert retry_failed.find_named([MOOD], [str(ref.id)]).busy == [ref]
    assert here.store.finish(MOOD, claimed, claimed.state) is Finish.SETTLED


def test_an_item_whose_run_died_is_revived_without_its_lease(
    here: Services, retry_failed: RetryFailed
) -> None:
    """A lease left behind would count as one more lost run at the next claim."""
    ref = fail(here)
    here.store.claim(MOOD, [ref.id], holder="message", lease=-1)
    assert [item.ref for item in retry_failed.find_failed(MOOD)] == [ref]
    assert here.backlog.reset_attempts(MOOD, [ref.id], now()) == 1
    claimed = here.store.claim(MOOD, [ref.id], holder="other", lease=100)
    assert isinstance(claimed, MediaDocument)
    assert (claimed.state.attempts, claimed.state.lost) == (1, 0)


def test_a_claim_begun_before_an_item_was_revived_is_begun_again(here: Services) -> None:
    """It would count on from the attempts that it has read."""
    ref = fail(here, attempts=24)
    raw = here.store.collection(MOOD).find_one({"_id": ref.id})
    assert raw is not None
    assert here.store.collection(MOOD).count_documents(unchanged_since(raw)) == 1
    here.backlog.reset_attempts(MOOD, [ref.id], now())
    assert here.store.collection(MOOD).count_documents(unchanged_since(raw)) == 0


@pytest.mark.parametrize("error", [None, "text", 5, [{"code": "x"}]])
def test_an_odd_error_keeps_nothing_from_being_revived(here: Services, error: object) -> None:
    """What older programs left where our errors are kept is dropped."""
    ref = save(here, atproto={"status": "failed", "error": error})
    assert here.backlog.reset_attempts(MOOD, [ref.id], now()) == 1
    document = here.store.find(MOOD, [ref.id])
    assert document is not None
    assert (document.state.status, document.state.error) == (Status.PENDING, None)


class Queue:
    """A queue that takes so many messages and no more."""

    def __init__(self, room: int = 1000) -> None:
        self.batches: list[RetryBatch] = []
        self.refused = 0
        self._room = room

    def send(self, batch: RetryBatch) -> bool:
        """Take a message, if there is room."""
        if len(self.batches) == self._room:
            self.refused += 1
            return False
        self.batches.append(batch)
        return True


def test_items_are_enqueued_by_owner_in_batches(here: Services, retry_failed: RetryFailed) -> None:
    """A hundred a message, owners in turn, every item once."""
    for number in range(1, 251):
        fail(here, save(here, item=number, user="auth0|ada"))
    lone = fail(here, save(here, item=1000, user="auth0|bob"))
    guests = fail(here, save(here, item=1001, user=None))
    queue = Queue()
    tally = retry_failed.retry(retry_failed.find_failed(MOOD), queue.send)
    assert [(batch.owner, len(batch.ids)) for batch in queue.batches] == [
        ("auth0|ada", 100),
        ("auth0|bob", 1),
        ("art-guest", 1),
        ("auth0|ada", 100),
        ("auth0|ada", 50),
    ]
    assert {item for batch in queue.batches for item in batch.ids} == {
        *range(1, 251),
        lone.id,
        guests.id,
    }
    assert (tally.messages, tally.enqueued, tally.skipped) == (5, {"mood": 252}, {})
    assert list(retry_failed.find_failed(MOOD)) == []


def test_items_with_blobs_come_in_smaller_batches(
    here: Services, retry_failed: RetryFailed
) -> None:
    """Their files have to be read and uploaded within one task."""
    for number in range(1, 31):
        fail(here, save(here, PAINTING, item=number))
        fail(here, save(here, PIECE, item=number))
    queue = Queue()
    retry_failed.retry(
        (item for kind in (PAINTING, PIECE) for item in retry_failed.find_failed(kind)), queue.send
    )
    assert [(batch.type, len(batch.ids)) for batch in queue.batches] == [
        ("painting", 25),
        ("piece", 25),
        ("painting", 5),
        ("piece", 5),
    ]


def test_a_queue_that_is_down_is_asked_no_more(here: Services, retry_failed: RetryFailed) -> None:
    """Everything is pending all the same, for the sweep to find when its time comes."""
    for number in range(1, 301):
        fail(here, save(here, item=number))
    queue = Queue(room=1)
    tally = retry_failed.retry(retry_failed.find_failed(MOOD), queue.send)
    assert (tally.messages, tally.enqueued, tally.skipped) == (1, {"mood": 100}, {"mood": 200})
    assert queue.refused == 1
    assert len(here.backlog.find_due(MOOD, after(301), 1000)) == 300
    assert here.backlog.find_due(MOOD, now(), 1000) == []


def test_items_are_retried_by_reason(here: Services, retry_failed: RetryFailed) -> None:
    """Of several reasons as well; what has another one stays failed."""
    chosen = [fail(here, code="source_missing"), fail(here, code="worker_lost")]
    other = fail(here)
    codes = ("source_missing", "worker_lost", "no_such_code")
    assert [item.ref for item in retry_failed.find_failed(MOOD, codes)] == chosen
    retry_failed.retry(retry_failed.find_failed(MOOD, codes), Queue().send)
    assert [item.ref for item in retry_failed.find_failed(MOOD)] == [other]


def test_ids_are_looked_up_in_every_type(here: Services, retry_failed: RetryFailed) -> None:
    """One that several types have is ambiguous among these, and not within one of them."""
    item: DocumentId = ObjectId()
    mood, painting = fail(here, save(here, item=item)), save(here, PAINTING)
    save(here, MOOD, item="both")
    piece = save(here, PIECE, item="both")
    kinds = list(MEDIA_TYPES.values())
    named = retry_failed.find_named(kinds, [str(item), str(painting.id), "both", "none", str(item)])
    assert [found.ref for found in named.items] == [mood, painting]
    assert named.ambiguous == [("both", ["mood", "piece"])]
    assert named.unknown == ["none"]
    assert [found.ref for found in retry_failed.find_named([PIECE], ["both"]).items] == [piece]
