"""A sweep's manners: what it marks, how much it enqueues, and what it does when things go wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID

import pytest
from bson import Binary, ObjectId
from bson.binary import UuidRepresentation

from tasks import removal_note
from tests.contract.items import (
    MOOD,
    SECOND,
    edit,
    give_account,
    refuse,
    save,
    settle,
    settle_and_edit,
    state_of,
    sweep,
)
from worker.core.clock import after, now
from worker.core.documents import ItemRef, Status
from worker.core.errors import MediaError, TransientError
from worker.core.secrets import Secret
from worker.database import indexes
from worker.database.backlog import Backlog
from worker.database.mongo import RawDocument, connect
from worker.database.removals import Removal
from worker.database.store import DocumentStore
from worker.media import MEDIA_TYPES, MediaType
from worker.media.base import HidingRule
from worker.queue.names import FRONT, OVERFLOW
from worker.services import Services
from worker.sync.batch.engine import BatchRequest
from worker.telemetry.alerts import AffectedItem, Alerts

EMPTY = {FRONT: 0, OVERFLOW: 0}


def test_mark_holds_until_its_time_and_no_longer(here: Services) -> None:
    """A message that is lost on the queue is replaced after a while."""
    refs = [save(here), save(here)]
    settle(here, refs[1], retry_at=now() - SECOND)
    assert set(sweep(here, requeue=300)) == set(refs)
    assert sweep(here) == []
    for ref in refs:
        edit(here, ref, **{"atproto.retryAt": now() - SECOND})
    assert set(sweep(here)) == set(refs)


def test_mark_changes_nothing_else(here: Services) -> None:
    """The state stays what it was, and an unseen item's becomes pending."""
    seen, unseen = save(here), save(here)
    settle(here, seen, status=Status.PARTIAL, reason="kept", attempts=5)
    before = state_of(here, seen)
    again = after(300)
    here.storage.backlog.mark(MOOD, [seen, unseen], again)
    assert isinstance(before, dict)
    assert state_of(here, seen) == before | {"retryAt": again}
    assert state_of(here, unseen) == {"status": "pending", "retryAt": again}


def test_mark_of_nothing_and_of_the_deleted_is_nothing(here: Services) -> None:
    """No document comes into being by it."""
    here.storage.backlog.mark(MOOD, [], after(300))
    here.storage.backlog.mark(MOOD, [ItemRef("mood", ObjectId())], after(300))
    assert here.storage.store.collection(MOOD).count_documents({}) == 0


def test_long_queue_is_not_made_longer(here: Services) -> None:
    """What is on it already takes from the limit, and the rest is found next time."""
    refs = {save(here, kind) for kind in MEDIA_TYPES.values() for _ in range(2)}
    assert sweep(here, queued=1000, limit=1000) == []
    assert sweep(here, queued=2000, limit=1000) == []
    first = sweep(here, queued=5, limit=8)
    assert len(first) == 3
    second = sweep(here, limit=8)
    assert set(first) | set(second) == refs
    assert len(first) + len(second) == len(refs)


def test_full_queue_does_not_move_the_window_past_an_edit(here: Services) -> None:
    """What there was no room for is not left for the next round."""
    due, edited = save(here, item=1), save(here, item=2)
    for ref in (due, edited):
        settle(here, ref)
    edit(here, edited, mood="edited")
    edit(here, due, **{"atproto.retryAt": now() - SECOND})
    assert sweep(here, limit=1, window=2) == [due]
    assert sweep(here, limit=1, window=2) == [edited]


def test_one_account_with_many_does_not_keep_others_from_being_found(here: Services) -> None:
    """Theirs have been due for longer: the first of them come first, the others behind."""
    many = [save(here) for _ in range(50)]
    for ref in many:
        settle(here, ref, retry_at=now() - 2 * SECOND)
    other = save(here, user="auth0|bob")
    settle(here, other, retry_at=now() - SECOND)
    small = replace(here.sync.sweep, settings=replace(here.settings.sweep, limit=30))
    found: list[tuple[ItemRef, int]] = []
    assert small.run(EMPTY, lambda *item: found.append(item), refuse) == 10 + 30 + 1
    assert [ref for ref, priority in found if priority == FRONT] == [*many[:10], other]
    assert [ref for ref, priority in found if priority == OVERFLOW] == many[10:40]
    found.clear()
    assert small.run({FRONT: 0, OVERFLOW: 30}, lambda *item: found.append(item), refuse) == 10
    assert found == [(ref, FRONT) for ref in many[40:]]


def test_edits_that_there_is_no_room_for_are_found_next_time(here: Services) -> None:
    """The window that they were found in has moved on."""
    refs = [save(here, item=number) for number in range(1, 5)]
    settle_and_edit(here, refs)
    assert sweep(here, limit=2, window=3) == refs[:2]
    assert sweep(here, limit=2, window=3) == refs[2:]


def test_a_search_for_edits_that_takes_too_long_continues_in_the_next_sweep(
    here: Services,
) -> None:
    """Thousands of documents of 16 MB must not keep the sweep from its end."""
    refs = [save(here, item=number) for number in range(1, 4)]
    settle_and_edit(here, refs)
    found, after = list[ItemRef](), None
    for ref in refs:
        changed, after = here.storage.backlog.find_changed_after(MOOD, after, 9, seconds=0.0)
        assert after == ref.id
        found += [owned.ref for owned in changed]
    assert found == refs


def test_item_found_for_two_reasons_is_enqueued_once(here: Services) -> None:
    """Due, and edited as well."""
    ref = save(here)
    settle(here, ref)
    edit(here, ref, mood="edited", **{"atproto.retryAt": now() - SECOND})
    assert sweep(here) == [ref]


def test_sweep_that_cannot_enqueue_leaves_all_to_the_next(here: Services) -> None:
    """Items are marked once they are on the queue, not before."""
    refs = [save(here, item=number) for number in (1, 2, 3)]

    def break_down(ref: ItemRef, _priority: int) -> None:
        if ref == refs[1]:
            raise TransientError("the queue is down")

    with pytest.raises(MediaError, match="the queue is down"):
        here.sync.sweep.run(EMPTY, break_down, refuse)
    assert set(sweep(here)) == set(refs)


def test_sweeps_at_once_lose_nothing(here: Services) -> None:
    """Two schedulers by mistake: an item may be enqueued twice, none is left out."""
    refs = {save(here, kind) for kind in MEDIA_TYPES.values() for _ in range(5)}
    start = threading.Barrier(3)

    def run(_: int) -> list[ItemRef]:
        start.wait()
        return sweep(here)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(run, range(3)))
    assert {ref for items in found for ref in items} == refs
    assert sweep(here) == []


def test_removal_from_an_account_that_cannot_be_found_is_kept(here: Services) -> None:
    """Nobody knows where it lives now: should it come back, its records still have to go."""
    give_account(here, "auth0|ada")
    outcome = here.sync.engine.sync("mood", ObjectId(), user="auth0|ada", holder="message")
    assert outcome.status is Status.PENDING
    assert outcome.error is not None
    assert outcome.error.code == "did_not_found"
    kept = here.storage.database["atproto_removals"].find_one()
    assert kept is not None
    assert kept["retryAt"] == outcome.retry_at


def test_kept_removals_are_enqueued_when_their_time_comes(here: Services) -> None:
    """Within the limit, and once."""
    removals = [Removal("mood", "auth0|ada", id=f"{number}") for number in range(3)]
    for removal in removals:
        here.storage.removals.postpone(removal, TransientError("later"), 1, None)
    edit_all = {"$set": {"retryAt": now() - SECOND}}
    here.storage.database["atproto_removals"].update_many({}, edit_all)
    found: list[Removal] = []
    two = replace(here.sync.sweep, settings=replace(here.settings.sweep, limit=2))
    for expected in (2, 1, 0):
        count = two.run(EMPTY, lambda *_: None, lambda removal, _priority: found.append(removal))
        assert count == expected
    assert sorted(found, key=lambda each: str(each.id)) == removals


def test_due_removals_of_one_account_hide_no_others(here: Services) -> None:
    """The first sweep takes the one of another account, although it is due last."""
    notes = [removal_note("mood", number, user="auth0|ada") for number in range(1000)]
    for note in notes:
        note["retryAt"] = now() - 60 * SECOND
    other = removal_note("mood", 0, user="auth0|bob") | {"retryAt": now() - SECOND}
    here.storage.database["atproto_removals"].insert_many([*notes, other])
    found: list[Removal] = []
    few = replace(here.sync.sweep, settings=replace(here.settings.sweep, limit=20))
    few.run(EMPTY, lambda *_: None, lambda removal, _priority: found.append(removal))
    assert Removal("mood", "auth0|bob", id=0) in found
    assert len(found) <= 40


def save_due(here: Services, count: int, user: str) -> None:
    """Save this many items of a user that have been due for a minute."""
    due = {"status": "pending", "retryAt": now() - 60 * SECOND}
    items = list[RawDocument]({"user": user, "mood": "calm", "atproto": due} for _ in range(count))
    here.storage.store.collection(MOOD).insert_many(items, ordered=False)


def test_items_behind_many_due_ones_of_an_account_are_enqueued(here: Services) -> None:
    """Within two sweeps, whether their accounts come before or after it, or there is none.

    There are a hundred due items for each place in the queue.
    """
    create_indexes(here)
    save_due(here, 10_000, "auth0|mia")
    due = {"status": "pending", "retryAt": now() - SECOND}
    users = ("auth0|zoe", "auth0|a", None)
    others = [save(here, user=user, atproto=dict(due)) for user in users]
    enqueued = sweep_to(here, limit=100) + sweep_to(here, limit=100)
    assert {(ref, FRONT) for ref in others} <= set(enqueued)
    assert len(enqueued) <= 2 * (100 + 10 + len(others))


def test_many_accounts_with_many_due_items_take_turns(here: Services) -> None:
    """Each sweep goes on at the owner that the last one ended at."""
    create_indexes(here)
    for number in range(6):
        save_due(here, 100, f"auth0|u{number}")
    owners = here.storage.store.find_owners
    for expected in ({0, 1, 2}, {3, 4, 5}):
        front = [ref.id for ref, priority in sweep_to(here, limit=30) if priority == FRONT]
        assert {int(each.owner[-1]) for each in owners(MOOD, front)} == expected


def test_new_items_behind_many_unseen_ones_are_enqueued(here: Services) -> None:
    """The sweep reads from both ends."""
    here.storage.store.collection(MOOD).insert_many(
        list[RawDocument]({"user": "auth0|mia", "mood": "calm"} for _ in range(300))
    )
    ref = save(here, user="auth0|zoe")
    assert (ref, FRONT) in sweep_to(here, limit=11)


def test_documents_that_cannot_be_marked_stop_no_sweep(here: Services, rejecting: Reject) -> None:
    """A schema validator rejects any change of them: all others are marked."""
    bad = [save(here, item=number) for number in (1, 2)]
    good = [save(here, item=number) for number in (3, 4)]
    due = [save(here, item=number) for number in (5, 6)]
    for ref in due:
        settle(here, ref, retry_at=now() - SECOND)
    rejecting([*bad, due[0]])
    assert set(sweep(here)) == {*bad, *good, *due}
    assert set(sweep(here)) == {*bad, due[0]}


def test_documents_that_cannot_be_saved_stop_no_mark_of_an_operator(
    here: Services, rejecting: Reject
) -> None:
    """Neither a retry, nor the marks after a change of an account."""
    refs = [save(here, item=number) for number in (1, 2, 3)]
    for ref in refs:
        settle(here, ref, status=Status.PARTIAL)
    rejecting([refs[0]])
    give_account(here, "auth0|ada")
    account = here.storage.accounts.find("auth0|ada")
    assert account is not None
    assert here.sync.sweep.changed_accounts.changes.mark_published(MOOD, account) == 2
    assert here.storage.backlog.reset_attempts(MOOD, [1, 2, 3], now()) == 2


def test_a_document_that_no_state_can_be_saved_on_fails_alone(
    here: Services, rejecting: Reject
) -> None:
    """Nothing is retried: its run ends, and so does the batch that it is in."""
    bad, good = save(here, user="auth0|nobody"), save(here, user="auth0|nobody")
    rejecting([bad])
    outcome = here.sync.engine.sync("mood", bad.id, holder="message")
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert (outcome.error.code, outcome.retry_at) == ("document_rejected", None)
    request = BatchRequest(MOOD, "auth0|nobody", [bad.id, good.id], "batch")
    outcomes = here.sync.batches.sync(request)
    assert [each.status for each in outcomes] == [Status.FAILED, Status.SKIPPED]


def test_a_rejected_state_is_replaced_by_the_failure(here: Services) -> None:
    """Where the validator takes that."""
    ref = save(here, user="auth0|nobody")
    with validator(here, {"atproto.lease": {"$exists": False}}):
        outcome = here.sync.engine.sync("mood", ref.id, holder="message")
    assert outcome.status is Status.FAILED
    state = state_of(here, ref)
    assert isinstance(state, dict)
    assert (state["status"], state["error"]["code"]) == ("failed", "document_rejected")


def test_a_type_that_fails_keeps_no_other_from_being_swept(here: Services) -> None:
    """Each error is reported, and all are raised once the other types are done."""
    refs = {save(here, kind) for kind in MEDIA_TYPES.values()}
    found: list[ItemRef] = []
    listener = Listener()

    def enqueue(ref: ItemRef, _priority: int) -> None:
        if ref.type in {"mood", "painting"}:
            raise RuntimeError(ref.type)
        found.append(ref)

    with pytest.raises(ExceptionGroup) as caught:
        replace(here.sync.sweep, alerts=listener).run(EMPTY, enqueue, refuse)
    assert {str(error) for error in caught.value.exceptions} == {"mood", "painting"}
    assert set(listener.parts) == {"sweep of mood", "sweep of painting"}
    assert set(found) == {ref for ref in refs if ref.type not in {"mood", "painting"}}


def test_a_document_that_cannot_be_parsed_ends_no_search(
    here: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for edits finds it and all others; its run and its batch fail it alone."""
    refs = [save(here, item=number, user="auth0|nobody") for number in (1, 2, 3)]
    settle_and_edit(here, refs)
    kind = replace(MOOD, hidden_by=(Unreadable("_id", "hidden", culprit=2),))
    assert [each.ref for each in here.storage.backlog.find_changed(kind, 10)] == refs
    monkeypatch.setitem(cast("dict[str, MediaType]", MEDIA_TYPES), "mood", kind)
    listener = Listener()
    engine = replace(here.sync.batches.engine, alerts=listener)
    batches = replace(here.sync.batches, engine=engine)
    with pytest.raises(ExceptionGroup, match="unexpected errors with moods"):
        batches.sync(BatchRequest(kind, "auth0|nobody", [1, 2, 3], "batch"))
    states = [cast("RawDocument", state_of(here, ref)) for ref in refs]
    assert [state["status"] for state in states] == ["skipped", "failed", "skipped"]
    assert cast("RawDocument", states[1]["error"])["code"] == "RecursionError"
    assert listener.items == ["2"]


def test_a_uuid_in_a_document_ends_no_search(here: Services) -> None:
    """Whatever the connection string says of UUIDs."""
    uuid = Binary.from_uuid(UUID(int=1), UuidRepresentation.STANDARD)
    ref, other = save(here, item=1), save(here, item=2)
    edit(here, ref, mood=uuid)
    settle(here, ref)
    settle_and_edit(here, [other])
    settings = here.settings.mongodb
    url = settings.url.reveal()
    url = f"{url}{'&' if '?' in url else '?'}uuidRepresentation=standard"
    database = connect(replace(settings, url=Secret(url)))
    with database.client:
        backlog = Backlog(database, DocumentStore(database, here.settings.guest_subject))
        assert [each.ref for each in backlog.find_changed(MOOD, 10)] == [other]


def test_many_users_without_accounts_are_read_a_page_at_a_time(here: Services) -> None:
    """The next sweep goes on behind them; an account that appears is found in its turn."""
    create_indexes(here)
    skipped = {"status": "skipped", "reason": "no_account"}
    items: list[RawDocument] = [
        {"user": f"auth0|{n:05}", "mood": "x", "atproto": skipped} for n in range(2500)
    ]
    items += [{"user": "auth0|00007", "mood": "x", "atproto": skipped} for _ in range(3000)]
    here.storage.store.collection(MOOD).insert_many(items)
    cycle = [list(here.storage.backlog.waiting_for_account(MOOD, 2)) for _ in range(2)]
    pages = [page for each in cycle for page in each]
    assert set().union(*pages) == {f"auth0|{n:05}" for n in range(2500)}
    assert [len(page) for page in pages] == [8, 1000, 1000, 492]
    give_account(here, "auth0|02400")
    ref = save(here, user="auth0|02400", atproto=dict(skipped))
    assert ref in sweep(here)


@dataclass(frozen=True, slots=True)
class Unreadable(HidingRule):
    """A rule with a bug that one document meets."""

    culprit: object = None

    def hides(self, value: object) -> bool:
        """Raise an error for that document."""
        if value == self.culprit:
            raise RecursionError
        return False


class Listener(Alerts):
    """Keeps the items and the parts of unexpected errors."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.parts: list[str] = []

    def unexpected_error(self, item: AffectedItem, error: Exception, *, is_new: bool) -> None:
        """Keep the id of an item."""
        self.items.append(item.id)

    def part_failed(self, part: str, error: Exception) -> None:
        """Keep the name of a part."""
        self.parts.append(part)


def sweep_to(here: Services, limit: int = 1000) -> list[tuple[ItemRef, int]]:
    """Sweep once with empty lists; return what was enqueued, and where."""
    found: list[tuple[ItemRef, int]] = []
    settings = replace(here.settings.sweep, limit=limit)
    replace(here.sync.sweep, settings=settings).run(EMPTY, lambda *item: found.append(item), refuse)
    return found


def create_indexes(here: Services) -> None:
    """Create the indexes, without which queries by owner are refused."""
    indexes.ensure(here.storage.database)


@contextmanager
def validator(here: Services, rule: Mapping[str, object]) -> Iterator[None]:
    """Have MongoDB reject moods that do not match a rule."""
    name, command = MOOD.collection, here.storage.database.command
    command("collMod", name, validator=rule)
    try:
        yield
    finally:
        command("collMod", name, validator={})


Reject = Callable[[Sequence[ItemRef]], None]


@pytest.fixture
def rejecting(here: Services) -> Iterator[Reject]:
    """Return what makes MongoDB reject every change of some moods, after they were saved."""
    with ExitStack() as stack:

        def reject(refs: Sequence[ItemRef]) -> None:
            rule = {"_id": {"$nin": [ref.id for ref in refs]}}
            stack.enter_context(validator(here, rule))

        yield reject
