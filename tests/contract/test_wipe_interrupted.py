"""A wipe that is interrupted, at any point, is run again and ends right; so are two at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.bulk import repo
from tests.changes import WorkerKilledError, kill_worker
from tests.contract.wiping import (
    Interrupted,
    assert_true_states,
    pds_away,
    prepared,
    published,
    published_moods,
    put_strange,
    records,
    swept,
    told,
    wipe,
)
from tests.world import World, at_step
from worker.core.errors import TransientError
from worker.core.records import Write
from worker.dev.stack import Stack
from worker.operations.erase.report import BACK, WipePreview

MOOD = "computer.aesthetic.mood"


@pytest.fixture
def world(new_world: World) -> World:
    """Return a world without documents, whose users have empty repos."""
    return new_world


def test_states_that_claim_what_is_not_there_are_cleared(world: World) -> None:
    """So an interrupted wipe leaves them: the records went, and it was killed right then."""
    moods = published_moods(world, world.ada, 5)
    ada = repo(world, world.ada)
    gone = [
        ada.key(MOOD, str(state["rkey"]))
        for item, state in world.platform.states("mood").items()
        if item in moods[:3]
    ]
    ada.apply([Write("delete", key) for key in gone], ada.commit())
    survey = prepared(world, world.ada).preview()
    assert survey["mood"] == WipePreview(records=2, states=5)
    assert told(wipe(world, world.ada), "mood") == (2, 5, 0)
    assert_true_states(world, world.ada)


def test_a_pds_that_dies_half_way_leaves_no_state_that_lies(
    own_world: World, own_stack: Stack
) -> None:
    """What was done is told; once it is back, a second wipe removes the rest."""
    published_moods(own_world, own_world.ada, 250)
    wiping = prepared(own_world, own_world.ada)
    steps = wiping.run()
    assert next(steps) == 100
    with pds_away(own_stack), pytest.raises(TransientError):
        next(steps)
    assert told(wiping, "mood")[:2] == (100, 100)
    assert_true_states(own_world, own_world.ada)
    assert told(wipe(own_world, own_world.ada), "mood") == (150, 150, 0)
    assert_true_states(own_world, own_world.ada)


def test_two_wipes_at_once_do_each_others_work(world: World) -> None:
    """Neither is confused by what the other has done; each state is cleared by one of them."""
    published_moods(world, world.ada, 250)
    both = [prepared(world, world.ada) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda wiping: sum(wiping.run()), both))
    assert sum(wiping.done["mood"].reset for wiping in both) == 250
    assert [wiping.done["mood"].skipped for wiping in both] == [{}, {}]
    assert records(world, world.ada, MOOD) == {}
    assert_true_states(world, world.ada)
    assert swept(world) == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_around_a_removal_it_is_run_again(world: World, moment: str) -> None:
    """Whatever the documents said of their records before: they end as if nothing had been."""
    items = published(world, world.ada)
    ada = repo(world, world.ada)
    named, old = (world.platform.save_mood("m", world.ada) for _ in range(2))
    put_strange(ada, MOOD, "a-named", ref=str(named))
    put_strange(ada, MOOD, "3kold", text="old")
    world.platform.edit("mood", old, atproto={"rkey": "3kold"})
    doubtful = world.platform.save_mood("its answer was lost", world.ada)
    with pytest.raises(WorkerKilledError):
        # The record is written, and nobody has noted that it is.
        world.sync("mood", doubtful, holder="m", observer=at_step(5, kill_worker))
    world.services.storage.database["moods"].update_one(
        {"_id": doubtful}, {"$unset": {"atproto.lease": ""}}
    )
    assert "uri" not in world.platform.state("mood", doubtful)
    with pytest.raises(WorkerKilledError):
        wipe(
            world,
            world.ada,
            "mood",
            record_deleter=Interrupted(world.services, **{moment: kill_worker}),
        )
    wipe(world, world.ada)
    assert records(world, world.ada, MOOD) == {}
    for mood in (items["mood"], named, old, doubtful):
        state = world.platform.state("mood", mood)
        assert (state["status"], state["reason"]) == ("removed", "wiped")
    assert_true_states(world, world.ada)
    assert swept(world) == []


def test_what_is_published_while_it_runs_is_told(world: World) -> None:
    """A new item, or another program's record, is nobody's to remove but the next wipe's."""
    published_moods(world, world.ada, 1)

    def save() -> None:
        world.sync("mood", world.platform.save_mood("new", world.ada))
        put_strange(repo(world, world.ada), MOOD, ref="nobody")

    wiping = wipe(world, world.ada, record_deleter=Interrupted(world.services, after=save))
    assert told(wiping, "mood") == (1, 1, 2)
    assert set(wiping.done["mood"].skipped.values()) == {BACK}
    assert_true_states(world, world.ada)
    assert told(wipe(world, world.ada), "mood") == (2, 1, 0)
