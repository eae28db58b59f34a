"""Chapter 4: messages double, cross and overtake each other, and it does not matter.

Each test stops one run between two of its steps, lets something else happen there, and lets it go
on: what is published in the end is what the document says in the end, exactly once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from bson import ObjectId

from tests import pictures
from tests.world import World, at_step

# What a first run of a painting says: its plan, the rkey reserved, the thumbnail uploaded, the
# record valid, writing, written.
STEPS = range(1, 7)

Change = Callable[[World, ObjectId], None]


def nothing(_world: World, _painting: ObjectId) -> None:
    """Deliver the same message twice, no more."""


def edit(world: World, painting: ObjectId) -> None:
    """Change a published field."""
    world.platform.edit("painting", painting, code="edited")


def new_image(world: World, painting: ObjectId) -> None:
    """Change the image that the document names."""
    world.platform.store("other.png", pictures.photo("PNG", (33, 21)), world.ada)
    world.platform.edit("painting", painting, slug="other")


def nuke(world: World, painting: ObjectId) -> None:
    """Take the item down."""
    world.platform.edit("painting", painting, nuked=True)


def give_away(world: World, painting: ObjectId) -> None:
    """Make it another user's."""
    world.platform.store("between.png", pictures.pixel_art(), world.bob)
    world.platform.edit("painting", painting, user=world.bob)


def delete(world: World, painting: ObjectId) -> None:
    """Delete the document altogether."""
    world.platform.delete("painting", painting)


CHANGES = (nothing, edit, new_image, nuke, give_away, delete)


def new_painting(world: World) -> ObjectId:
    """Save a painting with its image."""
    world.platform.store("between.png", pictures.pixel_art(), world.ada)
    return world.platform.save_painting("between", world.ada)


def assert_agreement(world: World, painting: ObjectId) -> None:
    """Assert that the PDS has what the document says, once, and that the state is true."""
    document = world.services.database["paintings"].find_one({"_id": painting})
    records = world.records("painting", painting)
    if document is None or document.get("nuked"):
        assert records == []
        return
    (record,) = records
    value, state = record["value"], document["atproto"]
    assert isinstance(value, dict)
    assert isinstance(state, dict)
    did = world.dids[str(document["user"])]
    assert (value["slug"], value["code"]) == (document["slug"], document["code"])
    assert record["uri"] == state["uri"]
    assert record["cid"] == state["cid"]
    assert str(record["uri"]).startswith(f"at://{did}/")
    assert state["status"] == "synced"
    assert "lease" not in state
    assert world.blob(did, value["thumbnail"])


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("step", STEPS)
def test_a_message_that_comes_during_a_run_is_heeded(
    world: World, step: int, change: Change
) -> None:
    """The second message finds the document taken, and the first run looks again at its end."""
    painting = new_painting(world)

    def meanwhile() -> None:
        change(world, painting)
        second = world.sync("painting", painting, user=world.ada)
        assert second.status == ("removed" if change is delete else None)

    world.sync("painting", painting, observer=at_step(step, meanwhile))
    assert_agreement(world, painting)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("step", STEPS)
def test_a_change_whose_message_was_lost_is_noticed_by_the_run_in_hand(
    world: World, step: int, change: Change
) -> None:
    """The run compares the document with what it published, and goes again."""
    painting = new_painting(world)
    world.sync("painting", painting, observer=at_step(step, lambda: change(world, painting)))
    assert_agreement(world, painting)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("step", STEPS)
def test_a_slow_old_run_never_overwrites_a_newer_one(
    world: World, step: int, change: Change
) -> None:
    """It was thought dead and its message given to another: what it still does is put right."""
    painting = new_painting(world)

    def meanwhile() -> None:
        change(world, painting)
        world.sync("painting", painting, holder="message", user=world.ada)

    world.sync("painting", painting, holder="message", observer=at_step(step, meanwhile))
    assert_agreement(world, painting)


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_died_is_taken_over_by_its_own_message(world: World, step: int) -> None:
    """Delivered again, the same message need not wait for the dead run's lease."""
    painting = new_painting(world)

    class WorkerKilledError(BaseException):
        """Stands for a kill: nothing catches it, nothing is cleaned up."""

    def die() -> None:
        raise WorkerKilledError

    with pytest.raises(WorkerKilledError):
        world.sync("painting", painting, holder="message-1", observer=at_step(step, die))
    assert world.sync("painting", painting).status is None
    assert world.sync("painting", painting, holder="message-1").status == "synced"
    assert_agreement(world, painting)


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
        assert_agreement(world, painting)
