"""A wipe among live saves, batches and other wipes: whatever wins, no state says what is not so."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.bulk import repo
from tests.changes import Change, edit, nothing, nuke
from tests.contract.items import claim_in_batch
from tests.contract.wiping import (
    Interrupted,
    assert_true_states,
    forgetter,
    prepared,
    published_moods,
    put_strange,
    records,
    settle,
    swept,
    told,
    wipe,
)
from tests.world import World, at_step
from worker.core.documents import ItemRef
from worker.database.batch_store import BatchStore, LoadedDocument
from worker.database.leases import new_lease
from worker.database.state import ResetMode
from worker.media import media_type
from worker.operations.erase.report import AT_WORK, BACK
from worker.operations.erase.state_reset import StateReset
from worker.sync.batch.engine import BatchRequest

MOOD = media_type("mood")
CHANGES = (nothing, edit, nuke)


@pytest.fixture
def world(new_world: World) -> World:
    """Return a world without documents, whose users have empty repos."""
    return new_world


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "published"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_an_item_that_a_run_holds_is_left_to_it(
    world: World, change: Change, *, is_new: bool
) -> None:
    """At whichever step of the run the wipe comes: what is left is told, and right."""
    for step in range(1, 6):
        mood = world.platform.save_mood("calm", world.ada)
        if not is_new:
            world.sync("mood", mood)
        change(world, "mood", mood)
        before = len(records(world, world.ada, MOOD.nsid))
        left: list[dict[str, str]] = []

        def wipe_now(known: list[dict[str, str]] = left) -> None:
            known.append(wipe(world, world.ada).done["mood"].skipped)

        world.sync("mood", mood, observer=at_step(step, wipe_now))
        settle(world)
        assert_true_states(world, world.ada)
        if left and before:
            assert set(left[0].values()) <= {AT_WORK}
    wipe(world, world.ada)
    assert records(world, world.ada, MOOD.nsid) == {}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_save_that_is_synced_while_its_record_is_removed(
    world: World, change: Change, moment: str
) -> None:
    """Published again after the removal, its record is left, and listed as skipped."""
    mood, other = published_moods(world, world.ada, 2)

    def save() -> None:
        change(world, "mood", mood)
        world.sync("mood", mood)

    record_deleter = Interrupted(world.services, **{moment: save})
    wiping = wipe(world, world.ada, record_deleter=record_deleter)
    assert world.platform.state("mood", other)["reason"] == "wiped"
    if moment == "after" and change is not nuke:
        assert set(wiping.done["mood"].skipped.values()) == {BACK}
        assert world.platform.state("mood", mood)["status"] == "synced"
    else:
        assert told(wiping, "mood")[2] == 0
        assert world.platform.state("mood", mood)["status"] == "removed"
    assert_true_states(world, world.ada)
    assert swept(world) == []


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("step", range(1, 5))
def test_a_run_that_spans_the_removal_goes_again(world: World, change: Change, step: int) -> None:
    """It began after its document was read and ends after the wipe: it is told, and looks."""
    (mood,) = published_moods(world, world.ada, 1)
    with stopped_run(world, mood, step) as begin:

        def save() -> None:
            change(world, "mood", mood)
            begin()

        wiping = wipe(world, world.ada, record_deleter=Interrupted(world.services, before=save))
        is_over = not world.platform.state("mood", mood).get("lease")
    if not is_over:
        assert list(wiping.done["mood"].skipped.values()) == [AT_WORK]
    settle(world)
    assert_true_states(world, world.ada)
    if not is_over and change is not nuke:
        assert world.platform.state("mood", mood)["status"] == "synced"


@contextmanager
def stopped_run(world: World, mood: ObjectId, step: int) -> Iterator[Callable[[], None]]:
    """Give a function that syncs an item up to a step; the run goes on when the block ends."""
    reached, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert go_on.wait(60)

    def run() -> None:
        try:
            world.sync("mood", mood, observer=at_step(step, wait))
        finally:
            reached.set()

    running = threading.Thread(target=run)

    def begin() -> None:
        if not running.ident:
            running.start()
            assert reached.wait(60)

    try:
        yield begin
    finally:
        go_on.set()
        if running.ident:
            running.join()


def test_a_new_item_in_a_batch_is_not_taken_for_one_of_an_older_program(world: World) -> None:
    """Both have a record key and no status, but the record of the new one is not written yet."""
    new, old = (world.platform.save_mood(text, world.ada) for text in ("new", "old"))
    world.platform.edit("mood", old, atproto={"rkey": "3kold"})
    claim_in_batch(world.services, ItemRef("mood", new), rkey="3kqk2q2a2aa2a")
    reset = StateReset(world.services.storage.store)
    pages = reset.documents_of_owner(MOOD, world.ada, ResetMode.WIPED)
    assert [loaded.id for page in pages for loaded in page] == [old]


@pytest.mark.parametrize("is_old", [False, True], ids=["synced", "of an older program"])
@pytest.mark.parametrize("forgotten", [False, True], ids=["wiped", "forgotten"])
def test_a_batch_that_has_read_a_state_before_cannot_claim_by_it(
    world: World, *, is_old: bool, forgotten: bool
) -> None:
    """It would take the record for being there."""
    mood = world.platform.save_mood("calm", world.ada)
    if is_old:
        put_strange(repo(world, world.ada), MOOD.nsid, "3kold")
        world.platform.edit("mood", mood, atproto={"rkey": "3kold"})
    else:
        world.sync("mood", mood)
    batch_store, read = BatchStore(world.services.storage.store), list[LoadedDocument]()

    def read_now() -> None:
        read.extend(each for each in batch_store.read(MOOD, [mood]) if each)

    if forgotten:
        read_now()
        assert sum(forgetter(world.services).prepare(world.ada).run()) == 1
    else:
        wipe(world, world.ada, record_deleter=Interrupted(world.services, before=read_now))
    (candidate, *_) = read
    lease = new_lease("batch", 60)
    did = repo(world, world.ada).did
    assert batch_store.claim(MOOD, did, [(candidate, None)], lease) == []


def test_a_storm_of_saves_batches_and_wipes_ends_in_agreement(world: World) -> None:
    """Four workers and an impatient operator; in the end every state is true."""
    moods = published_moods(world, world.ada, 12)

    def worker(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(8):
            mood = dice.choice(moods)
            dice.choice(CHANGES)(world, "mood", mood)
            if dice.random() < 0.3:
                world.services.sync.batches.sync(BatchRequest(MOOD, world.ada, moods, uuid4().hex))
            else:
                world.sync("mood", mood)

    def operator(_: int) -> None:
        for _ in range(6):
            sum(prepared(world, world.ada).run())

    with ThreadPoolExecutor(6) as pool:
        workers, operators = pool.map(worker, range(4)), pool.map(operator, range(2))
        assert [*workers, *operators] == [None] * 6
    settle(world)
    assert_true_states(world, world.ada)
    wipe(world, world.ada)
    assert records(world, world.ada, MOOD.nsid) == {}
    assert_true_states(world, world.ada)
