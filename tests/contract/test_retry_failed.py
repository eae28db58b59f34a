"""Retrying failed items: their state in a real MongoDB, and the messages for them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from bson import ObjectId

from tests.contract.failing import fail
from tests.contract.items import MOOD, PAINTING, claim_in_batch, save, settle, state_of
from worker.core.clock import after, now
from worker.core.documents import DocumentId, ItemRef, MediaDocument, Status
from worker.database.leases import unchanged_since
from worker.database.store import Finish
from worker.media import MEDIA_TYPES, MediaType, media_type
from worker.operations.backfill.planner import BackfillPlanner, Batch
from worker.operations.backfill.queries import BackfillQueries
from worker.operations.backfill.retry import RetryTotals, find_named, retry_batches
from worker.services import Services

PIECE = media_type("piece")


def failed(here: Services, *codes: str) -> list[ItemRef]:
    """Return the moods to retry."""
    return [item.ref for item in BackfillQueries(here.storage.store).failed(MOOD, codes)]


def test_a_revived_item_has_all_its_attempts_again(here: Services) -> None:
    """It is pending, its error is no more for good, and a sweep finds it at the time given."""
    ref = fail(here, attempts=24, lost=3, rkey="here", repo="did:plc:ada")
    again = after(300)
    assert here.storage.backlog.reset_attempts(MOOD, [ref.id], again) == 1
    document = here.storage.store.find(MOOD, [ref.id])
    assert document is not None
    state = document.state
    assert (state.status, state.attempts, state.lost) == (Status.PENDING, 0, 0)
    assert (state.retry_at, state.rkey, state.lease) == (again, "here", None)
    assert state.error is not None
    assert (state.error.code, state.error.permanent) == ("field_invalid", False)
    claimed = here.storage.store.claim(MOOD, [ref.id], holder="message", lease=100)
    assert isinstance(claimed, MediaDocument)
    assert (claimed.state.attempts, claimed.state.lost) == (1, 0)


@pytest.mark.parametrize("status", [Status.SYNCED, Status.SKIPPED, Status.REMOVED])
def test_what_is_settled_is_not_revived(here: Services, status: Status) -> None:
    """Nor what no run has looked at: it has all its attempts."""
    ref, unseen = save(here), save(here)
    settle(here, ref, status=status)
    before = state_of(here, ref)
    assert here.storage.backlog.reset_attempts(MOOD, [ref.id, unseen.id], now()) == 0
    assert (state_of(here, ref), state_of(here, unseen)) == (before, None)


def test_what_a_run_holds_is_left_to_it(here: Services) -> None:
    """That run is the attempt; what it leaves behind is its own."""
    ref = fail(here)
    claimed = here.storage.store.claim(MOOD, [ref.id], holder="message", lease=100)
    assert isinstance(claimed, MediaDocument)
    assert here.storage.backlog.reset_attempts(MOOD, [ref.id], now()) == 0
    assert failed(here) == []
    assert find_named(here.storage.store, [MOOD], [str(ref.id)]).busy == [ref]
    assert here.storage.store.finish(MOOD, claimed, claimed.state) is Finish.SETTLED


def test_an_item_whose_run_died_is_revived_without_its_lease(here: Services) -> None:
    """A lease left behind would count as one more lost run at the next claim."""
    ref = fail(here)
    here.storage.store.claim(MOOD, [ref.id], holder="message", lease=-1)
    assert failed(here) == [ref]
    assert here.storage.backlog.reset_attempts(MOOD, [ref.id], now()) == 1
    claimed = here.storage.store.claim(MOOD, [ref.id], holder="other", lease=100)
    assert isinstance(claimed, MediaDocument)
    assert (claimed.state.attempts, claimed.state.lost) == (1, 0)


def test_a_new_item_whose_batch_died_is_revived_without_its_lease(here: Services) -> None:
    """The claim of a batch sets no status, but counts an attempt."""
    ref = save(here)
    claim_in_batch(here, ref, lease=-1)
    assert here.storage.backlog.reset_attempts(MOOD, [ref.id], now()) == 1
    claimed = here.storage.store.claim(MOOD, [ref.id], holder="other", lease=100)
    assert isinstance(claimed, MediaDocument)
    assert (claimed.state.attempts, claimed.state.lost) == (1, 0)


def test_a_claim_begun_before_an_item_was_revived_is_begun_again(here: Services) -> None:
    """It would count on from the attempts that it has read."""
    ref = fail(here, attempts=24)
    raw = here.storage.store.collection(MOOD).find_one({"_id": ref.id})
    assert raw is not None
    assert here.storage.store.collection(MOOD).count_documents(unchanged_since(raw)) == 1
    here.storage.backlog.reset_attempts(MOOD, [ref.id], now())
    assert here.storage.store.collection(MOOD).count_documents(unchanged_since(raw)) == 0


@pytest.mark.parametrize("error", [None, "text", 5, [{"code": "x"}]])
def test_an_odd_error_keeps_nothing_from_being_revived(here: Services, error: object) -> None:
    """What older programs left where our errors are kept is dropped."""
    ref = save(here, atproto={"status": "failed", "error": error})
    assert here.storage.backlog.reset_attempts(MOOD, [ref.id], now()) == 1
    document = here.storage.store.find(MOOD, [ref.id])
    assert document is not None
    assert (document.state.status, document.state.error) == (Status.PENDING, None)


class Queue:
    """A queue that takes so many messages and no more."""

    def __init__(self, room: int = 1000) -> None:
        self.batches: list[Batch] = []
        self.refused = 0
        self._room = room

    def send(self, batch: Batch) -> bool:
        """Take a message, if there is room."""
        if len(self.batches) == self._room:
            self.refused += 1
            return False
        self.batches.append(batch)
        return True


def retry(
    here: Services, queue: Queue, kinds: Sequence[MediaType] = (MOOD,), codes: Sequence[str] = ()
) -> RetryTotals:
    """Retry the failed items of these types."""
    batches = BackfillPlanner.of(here).failed_batches(kinds, codes)
    return retry_batches(here, batches, queue.send)


def test_items_are_enqueued_by_owner_in_batches(here: Services) -> None:
    """A hundred a message, owners in turn, every item once."""
    for number in range(1, 251):
        fail(here, save(here, item=number, user="auth0|ada"))
    lone = fail(here, save(here, item=1000, user="auth0|bob"))
    guests = fail(here, save(here, item=1001, user=None))
    queue = Queue()
    totals = retry(here, queue)
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
    assert (totals.enqueued, totals.skipped) == ({"mood": 252}, {})
    assert failed(here) == []


def test_batches_are_as_large_as_in_a_backfill(here: Services) -> None:
    """Fewer paintings than pieces: their files are read and uploaded within one task."""
    for number in range(1, 61):
        fail(here, save(here, PAINTING, item=number))
        fail(here, save(here, PIECE, item=number))
    queue = Queue()
    retry(here, queue, [PAINTING, PIECE])
    sizes = {PAINTING.name: list[int](), PIECE.name: list[int]()}
    for batch in queue.batches:
        sizes[batch.kind.name].append(len(batch.ids))
    assert sizes[PIECE.name] == [60]
    assert sum(sizes[PAINTING.name]) == 60
    assert max(sizes[PAINTING.name]) <= PAINTING.batch


def test_a_limit_bounds_the_items(here: Services) -> None:
    """The page retries a thousand of a reason at a time."""
    for number in range(1, 151):
        fail(here, save(here, item=number))
    batches = BackfillPlanner.of(here).failed_batches([MOOD], limit=120)
    assert [len(batch.ids) for batch in batches] == [100, 20]


def test_a_queue_that_is_down_is_asked_no_more(here: Services) -> None:
    """Everything is pending all the same, for the sweep to find when its time comes."""
    for number in range(1, 301):
        fail(here, save(here, item=number))
    queue = Queue(room=1)
    totals = retry(here, queue)
    assert (totals.enqueued, totals.skipped) == ({"mood": 100}, {"mood": 200})
    assert (len(queue.batches), queue.refused) == (1, 1)
    swept = after(here.settings.sweep.requeue + 1)
    assert len(here.storage.backlog.find_due(MOOD, swept, 1000)) == 300
    assert here.storage.backlog.find_due(MOOD, now(), 1000) == []


def test_items_are_retried_by_reason(here: Services) -> None:
    """Of several reasons as well; what has another one stays failed."""
    chosen = [fail(here, code="source_missing"), fail(here, code="worker_lost")]
    other = fail(here)
    codes = ("source_missing", "worker_lost", "no_such_code")
    assert failed(here, *codes) == chosen
    retry(here, Queue(), codes=codes)
    assert failed(here) == [other]


def test_ids_are_looked_up_in_every_type(here: Services) -> None:
    """One that several types have is ambiguous among these, and not within one of them."""
    item: DocumentId = ObjectId()
    mood, painting = fail(here, save(here, item=item)), save(here, PAINTING)
    save(here, MOOD, item="both")
    piece = save(here, PIECE, item="both")
    kinds = list(MEDIA_TYPES.values())
    ids = [str(item), str(painting.id), "both", "none", str(item)]
    named = find_named(here.storage.store, kinds, ids)
    assert [found.ref for found in named.items] == [mood, painting]
    assert named.ambiguous == [("both", ["mood", "piece"])]
    assert named.unknown == ["none"]
    named = find_named(here.storage.store, [PIECE], ["both"])
    assert [found.ref for found in named.items] == [piece]
