"""What a backfill finds to do: which items, whose, in which turns, and what it leaves out."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.contract.items import MOOD, PAINTING, SECOND, edit, give_account, save
from worker.core.clock import after, now
from worker.core.documents import DocumentId
from worker.database.mongo import RawDocument
from worker.media import MEDIA_TYPES
from worker.operations.backfill.planner import (
    MAX_MESSAGES,
    BackfillPlanner,
    BackfillPreview,
    Batch,
    Scope,
)
from worker.operations.backfill.queries import (
    FAILED,
    FOREIGN,
    NO_ACCOUNT,
    PARTIAL,
    PENDING,
    REMOVED,
    UNSEEN,
    BackfillQueries,
    StatusGroup,
)
from worker.operations.backfill.run import BackfillRun
from worker.queue.depth import QueueLengths
from worker.services import Services
from worker.sync.batch.progress import ProgressTracker

ADA, BOB, NOBODY, GUEST = "auth0|ada", "auth0|bob", "auth0|nobody", "art-guest"
KINDS = list(MEDIA_TYPES.values())
STATES: list[tuple[StatusGroup, RawDocument | None]] = [
    (UNSEEN, None),
    (UNSEEN, {"rkey": "3legacy222222"}),
    (UNSEEN, {"attempts": 1}),
    (PENDING, {"status": "pending", "retryAt": now() + timedelta(days=1)}),
    (PARTIAL, {"status": "partial", "rkey": "3partial22222"}),
    (FAILED, {"status": "failed"}),
    (REMOVED, {"status": "removed", "reason": "wiped", "rkey": "3wiped2222222"}),
    (NO_ACCOUNT, {"status": "skipped", "reason": "no_account"}),
    (FOREIGN, {"status": "uploaded", "rkey": "3another22222"}),
    (FOREIGN, {"status": 5}),
]
LEFT_ALONE: list[tuple[RawDocument, str | None]] = [
    ({"status": "synced", "rkey": "3synced222222", "cid": "bafy"}, None),
    ({"status": "skipped", "reason": "no_code"}, "skipped"),
    ({"status": "removed", "reason": "forgotten"}, "forgotten"),
]


@pytest.fixture
def here(here: Services) -> Services:
    """The shared services, with accounts of ada, bob and the guests."""
    for subject in (ADA, BOB, GUEST):
        give_account(here, subject)
    return here


def survey(here: Services, **scope: object) -> BackfillPreview:
    """Survey what a scope covers."""
    return BackfillPlanner.of(here).preview(Scope(KINDS, **scope))  # type: ignore[arg-type]


def batches(here: Services, **scope: object) -> list[Batch]:
    """Return the batches of a scope."""
    return list(BackfillPlanner.of(here).batches(Scope(KINDS, **scope)))  # type: ignore[arg-type]


def ids(found: list[Batch]) -> set[DocumentId]:
    """Return what is in batches; each is there once."""
    listed = [raw for batch in found for raw in batch.ids]
    assert len(listed) == len(set(listed))
    return set(listed)


@pytest.mark.parametrize(("group", "state"), STATES)
@pytest.mark.parametrize("user", [ADA, None])
def test_each_state_is_in_one_group(
    here: Services, group: StatusGroup, state: RawDocument | None, user: str | None
) -> None:
    """And in no other, whether all owners are looked at or one."""
    kind = MOOD if user else PAINTING
    ref = save(here, kind, user=user, atproto=state)
    selection, owner = BackfillQueries(here.storage.store), user or GUEST
    for other in (PARTIAL, NO_ACCOUNT, FAILED, REMOVED, PENDING, FOREIGN, UNSEEN):
        expected = [ref.id] if other is group else []
        assert list(selection.documents(kind, other, owner)) == expected
        for only in (None, [owner]):
            counts = list(selection.owners(kind, other, only))
            assert [(each.owner, each.wanted) for each in counts] == [
                (owner, len(expected)) for _ in expected
            ]


def test_several_owners_are_counted_with_one_query(here: Services) -> None:
    """Guests among them, however their documents say so; nobody else is."""
    for user in (ADA, ADA, BOB, NOBODY, None, "", GUEST):
        save(here, PAINTING, user=user)
    counts = BackfillQueries(here.storage.store).owners(PAINTING, UNSEEN, [ADA, GUEST])
    assert {each.owner: each.wanted for each in counts} == {ADA: 2, GUEST: 3}


@pytest.mark.parametrize(("state", "reason"), LEFT_ALONE)
def test_what_is_right_is_not_wanted(
    here: Services, state: RawDocument, reason: str | None
) -> None:
    """Published, or not to be: then it is counted by reason."""
    save(here, atproto=state)
    everything = {"failed": True, "removed": True}
    left_out = {("mood", reason): 1} if reason else {}
    assert survey(here, **everything) == BackfillPreview({}, left_out, frozenset())
    assert batches(here, **everything) == []


def test_what_failed_or_was_removed_is_wanted_on_request_alone(here: Services) -> None:
    """`--failed`, and a restore."""
    failed = save(here, atproto={"status": "failed"})
    removed = save(here, atproto={"status": "removed", "reason": "wiped"})
    assert ids(batches(here)) == set()
    assert survey(here).left_out == {("mood", "failed"): 1, ("mood", "removed"): 1}
    assert ids(batches(here, failed=True)) == {failed.id}
    assert ids(batches(here, removed=True)) == {removed.id}
    assert survey(here, failed=True, removed=True).wanted == {"mood": 2}


def test_what_is_left_out_is_counted_by_reason(here: Services) -> None:
    """Nuked, deleted, without an account, and guests' moods: none of it is an error."""
    wanted = save(here)
    edit(here, save(here), nuked=True)
    edit(here, save(here), deleted=True)
    for kind in (MOOD, PAINTING):
        save(here, kind, user=NOBODY)
    save(here, user=NOBODY, atproto={"status": "skipped", "reason": "no_account"})
    for user in (None, "", GUEST):
        save(here, user=user)
    assert survey(here) == BackfillPreview(
        wanted={"mood": 1},
        left_out={
            ("mood", "nuked"): 1,
            ("mood", "deleted"): 1,
            ("mood", "no_account"): 2,
            ("mood", "guests_not_published"): 3,
            ("painting", "no_account"): 1,
        },
        owners=frozenset({ADA}),
        without_account={"user": 1},
    )
    assert ids(batches(here)) == {wanted.id}


def test_what_is_gone_but_may_have_left_a_record_is_seen_to(here: Services) -> None:
    """Nuked while a message was lost: its record has to go. Not what was removed already."""
    pending = save(here, atproto={"status": "pending", "rkey": "3left22222222"})
    legacy = save(here, atproto={"rkey": "3legacy222222"})
    removed = save(here, atproto={"status": "removed", "rkey": "3gone22222222"})
    for ref in (pending, legacy, removed):
        edit(here, ref, nuked=True)
    assert ids(batches(here, removed=True)) == {pending.id, legacy.id}
    assert survey(here, removed=True).wanted == {"mood": 2}
    assert survey(here, removed=True).left_out == {("mood", "nuked"): 1}


def test_an_account_that_appears_is_served_from_then_on(here: Services) -> None:
    """What was skipped for want of it, and what was never tried."""
    fresh = save(here, user=NOBODY)
    skipped = save(here, user=NOBODY, atproto={"status": "skipped", "reason": "no_account"})
    assert batches(here) == []
    give_account(here, NOBODY)
    assert ids(batches(here)) == {fresh.id, skipped.id}
    assert survey(here) == BackfillPreview({"mood": 2}, {}, frozenset({NOBODY}))


def test_guests_items_are_theirs_however_nobody_is_spelt(here: Services) -> None:
    """No user, null, an empty text, or the guests' own subject."""
    refs = [save(here, PAINTING, user=user) for user in (None, "", GUEST)]
    nulled = save(here, PAINTING, user=ADA)
    edit(here, nulled, user=None)
    (batch,) = batches(here)
    assert (batch.owner, set(batch.ids)) == (GUEST, {ref.id for ref in [*refs, nulled]})


def test_only_the_owners_named_are_served(here: Services) -> None:
    """`--user` and `--guests`: what others have is not even counted."""
    adas, bobs = save(here), save(here, user=BOB)
    guests = save(here, PAINTING, user=None)
    assert ids(batches(here, owners=[ADA])) == {adas.id}
    assert ids(batches(here, owners=[BOB, GUEST])) == {bobs.id, guests.id}
    assert survey(here, owners=[ADA]) == BackfillPreview({"mood": 1}, {}, frozenset({ADA}))


def test_only_the_types_named_are_served(here: Services) -> None:
    """`--type`."""
    save(here)
    painting = save(here, PAINTING)
    scope = Scope([PAINTING])
    assert ids(list(BackfillPlanner.of(here).batches(scope))) == {painting.id}
    assert BackfillPlanner.of(here).preview(scope).wanted == {"painting": 1}


@pytest.mark.parametrize("limit", [1, 25, 30, 1000])
def test_a_limit_bounds_the_items(here: Services, limit: int) -> None:
    """Not the batches."""
    for _ in range(40):
        save(here, PAINTING)
    assert len(ids(batches(here, limit=limit))) == min(limit, 40)


def test_batches_are_as_large_as_their_type_allows(here: Services) -> None:
    """Each of one account."""
    here.storage.store.collection(MOOD).insert_many(
        [{"mood": "m", "user": ADA} for _ in range(250)]
    )
    assert [len(batch.ids) for batch in batches(here)] == [100, 100, 50]


def test_accounts_take_turns(here: Services) -> None:
    """A large one does not keep the others waiting."""
    for user, count in ((ADA, 500), (BOB, 150), (GUEST, 1)):
        kind = MOOD if user != GUEST else PAINTING
        here.storage.store.collection(kind).insert_many([{"user": user} for _ in range(count)])
    owners = [batch.owner for batch in batches(here)]
    assert [owners[0], set(owners[1:3]), set(owners[3:5])] == [GUEST, {ADA, BOB}, {ADA, BOB}]
    assert owners[5:] == [ADA] * 3


def test_what_remains_is_what_is_due_and_not_settled(here: Services) -> None:
    """What failed, or lacks a file, has had its try; what waits for long is the sweep's."""
    fresh = save(here)
    due = save(here, atproto={"status": "pending", "retryAt": now() - SECOND})
    soon = save(here, atproto={"status": "pending", "retryAt": after(20)})
    save(here, atproto={"status": "pending", "retryAt": after(60)})
    for status in ("failed", "partial", "removed"):
        save(here, atproto={"status": status})
    remaining = BackfillPlanner.of(here).remaining(
        Scope(KINDS, failed=True, removed=True), after(30)
    )
    assert ids(list(remaining)) == {fresh.id, due.id, soon.id}


def test_items_that_are_done_while_others_are_enqueued_are_not_met_again(here: Services) -> None:
    """Workers are at it already: what moves from state to state comes once."""
    refs = [save(here, atproto=state) for _, state in STATES[:5]] + [save(here) for _ in range(250)]
    collection = here.storage.store.collection(MOOD)

    def at_once() -> Iterator[Batch]:
        for batch in BackfillPlanner.of(here).batches(Scope(KINDS)):
            yield batch
            result = {
                "$set": {"atproto": {"status": "pending" if len(batch.ids) < 5 else "synced"}}
            }
            collection.update_many({"_id": {"$in": list(batch.ids)}}, result)

    met = [raw for batch in at_once() for raw in batch.ids]
    assert {ref.id for ref in refs} == set(met)


def test_selecting_takes_no_more_memory_for_more_documents(here: Services) -> None:
    """Neither the ids nor the owners are ever held all together."""
    moods = here.storage.store.collection(MOOD)
    moods.insert_many({"_id": ObjectId(), "user": ADA} for _ in range(30_000))
    tracemalloc.start()
    try:
        count = sum(len(batch.ids) for batch in BackfillPlanner.of(here).batches(Scope([MOOD])))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 30_000
    assert peak < 1_500_000
    first = next(islice(BackfillPlanner.of(here).batches(Scope([MOOD])), 1))
    assert len(first.ids) == MOOD.batch


def test_batches_with_thumbnails_have_different_sizes(here: Services) -> None:
    """So processes that upload at the same speed do not end their batches together."""
    paintings = here.storage.store.collection(PAINTING)
    paintings.insert_many({"_id": ObjectId(), "user": ADA} for _ in range(1000))
    every = list(BackfillPlanner.of(here).batches(Scope([PAINTING])))
    assert every == list(BackfillPlanner.of(here).batches(Scope([PAINTING])))
    sizes = [len(each.ids) for each in every]
    assert sum(sizes) == 1000
    assert len(set(sizes)) > 1
    assert max(sizes) <= PAINTING.batch
    assert min(sizes[:-1]) >= PAINTING.batch // 2


class ManyBatches(BackfillPlanner):
    """A planner of 3,000 batches."""

    def batches(self, scope: Scope) -> Iterator[Batch]:
        """Yield them; none has a document."""
        return (Batch(MOOD, ADA, (number,)) for number in range(3000))


def test_a_backfill_of_any_size_keeps_a_bounded_number_of_messages_queued(here: Services) -> None:
    """It enqueues more as workers take some. Those in flight do not count: workers limit them."""
    queued: list[str] = []
    most = 0

    def send(_batch: Batch, _backfill: str, message: str) -> bool:
        nonlocal most
        queued.append(message)
        most = max(most, len(queued))
        return True

    backfill_run = BackfillRun(
        name=uuid4().hex,
        scope=Scope([MOOD]),
        planner=ManyBatches.of(here),
        progress=ProgressTracker(here.storage.redis),
        send=send,
        lengths=lambda: QueueLengths(0, 0, len(queued), 5000),
        show=lambda _progress: queued.clear(),
    )
    assert backfill_run.enqueue() == 3000
    assert most <= MAX_MESSAGES + 100
