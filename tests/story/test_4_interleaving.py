"""Chapter 4: messages double, cross and overtake each other, and it does not matter.

Each test stops one run between two of its steps, lets something else happen there, and lets it go
on: what is published in the end is what the document says in the end, exactly once.
"""

from __future__ import annotations

import random
import threading

import pytest
from bson import ObjectId

from tests import pictures
from tests.changes import CHANGES, Change, WorkerKilledError, assert_published, delete, kill_worker
from tests.world import World, at_step

# What a first run of a painting says: its plan, the rkey reserved, the thumbnail uploaded, the
# record valid, writing, written.
STEPS = range(1, 7)
GRID = [(step, change) for step in STEPS for change in CHANGES]
# The step, the change and whether a message tells of it, in pairs: as on a chessboard, so that
# each step and each change occurs as often with a message as without, and each two of them once.
PAIRS = [(*case, bool((number + number // len(CHANGES)) % 2)) for number, case in enumerate(GRID)]


def name_of(part: object) -> str | None:
    """Name a test's change; its other parameters name themselves."""
    return getattr(part, "__name__", None)


def new_painting(world: World) -> ObjectId:
    """Save a painting with its image."""
    world.platform.store("between.png", pictures.pixel_art(), world.ada)
    return world.platform.save_painting("between", world.ada)


@pytest.mark.parametrize(("step", "change", "is_told"), PAIRS, ids=name_of)
def test_change_during_a_run_is_published(
    world: World, step: int, change: Change, *, is_told: bool
) -> None:
    """With its message, which finds the item taken, or without: the run looks again at its end."""
    painting = new_painting(world)

    def meanwhile() -> None:
        change(world, "painting", painting)
        if is_told:
            second = world.sync("painting", painting, user=world.ada)
            assert second.status == ("removed" if change is delete else None)

    world.sync("painting", painting, observer=at_step(step, meanwhile))
    assert_published(world, painting)


@pytest.mark.parametrize(("step", "change"), GRID, ids=name_of)
def test_slow_old_run_never_overwrites_a_newer_one(world: World, step: int, change: Change) -> None:
    """Its message was given to another worker: what it still does is put right."""
    painting = new_painting(world)

    def meanwhile() -> None:
        change(world, "painting", painting)
        world.sync("painting", painting, holder="message", user=world.ada)

    world.sync("painting", painting, holder="message", observer=at_step(step, meanwhile))
    assert_published(world, painting)


@pytest.mark.parametrize("step", STEPS)
def test_run_that_died_is_taken_over_by_its_own_message(world: World, step: int) -> None:
    """Delivered again, the same message need not wait for the dead run's lease."""
    painting = new_painting(world)
    with pytest.raises(WorkerKilledError):
        world.sync("painting", painting, holder="message-1", observer=at_step(step, kill_worker))
    assert world.sync("painting", painting).status is None
    assert world.sync("painting", painting, holder="message-1").status == "synced"
    assert_published(world, painting)


def test_a_storm_of_messages_and_edits_ends_in_agreement(world: World) -> None:
    """Four workers, five items, random edits, nukes and revivals, every message doubled."""
    paintings = [new_painting(world) for _ in range(5)]

    def worker(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(12):
            painting = dice.choice(paintings)
            changes: dict[str, object] = dice.choice(
                [{"code": f"c{dice.randrange(9)}"}, {"nuked": True}, {"nuked": False}]
            )
            world.platform.edit("painting", painting, **changes)
            world.sync("painting", painting)
            world.sync("painting", painting)

    threads = [threading.Thread(target=worker, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for painting in paintings:
        assert_published(world, painting)
