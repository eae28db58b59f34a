"""What happens to items while a batch is at work on them, at every point of it.

Each test stops a batch at one of its calls, lets something else happen there, and lets it go on:
what is published in the end is what the documents say in the end, exactly once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from bson import ObjectId

from tests.bulk import (
    MOOD,
    PAINTING,
    assert_agreement,
    end_leases,
    save_moods,
    save_paintings,
    statuses,
    sync_batch,
)
from tests.changes import CHANGES, WorkerKilledError, assert_published, delete, kill_worker
from tests.watching import Point, Watch
from tests.world import World

POINTS: tuple[Point, ...] = (
    ("before", "upload"),
    ("after", "upload"),
    ("before", "apply"),
    ("after", "apply"),
)


def assert_all_published(world: World, paintings: Sequence[ObjectId]) -> None:
    """Assert that the PDS has what the documents say, once, and every blob."""
    assert_agreement(world)
    for painting in paintings:
        assert_published(world, painting)


@pytest.mark.parametrize("point", POINTS, ids=" ".join)
def test_what_happens_to_items_during_a_batch_is_heeded(
    world: World, watch: Watch, point: Point
) -> None:
    """Each change to one item with a message, which finds it taken, and to one without."""
    told, untold = save_paintings(world, len(CHANGES)), save_paintings(world, len(CHANGES))

    def meanwhile() -> None:
        for change, item, silent in zip(CHANGES, told, untold, strict=True):
            change(world, "painting", item)
            change(world, "painting", silent)
            second = world.sync("painting", item, user=world.ada)
            assert second.status == ("removed" if change is delete else None)

    watch.at(point, meanwhile)
    outcomes = sync_batch(world, "painting", told + untold, batches=watch.batches)
    assert statuses(outcomes)["synced"] == 8
    assert_all_published(world, told + untold)


@pytest.mark.parametrize("point", POINTS, ids=" ".join)
def test_a_slow_old_batch_never_overwrites_a_newer_one(
    world: World, watch: Watch, point: Point
) -> None:
    """It was thought dead and its message given to another: what it still does is put right."""
    items = save_paintings(world, len(CHANGES))

    def meanwhile() -> None:
        for change, item in zip(CHANGES, items, strict=True):
            change(world, "painting", item)
        sync_batch(world, "painting", items, holder="message")

    watch.at(point, meanwhile)
    sync_batch(world, "painting", items, batches=watch.batches, holder="message")
    assert_all_published(world, items)


@pytest.mark.parametrize("point", POINTS, ids=" ".join)
def test_a_batch_that_died_is_taken_over_by_its_own_message(
    world: World, watch: Watch, point: Point
) -> None:
    """Other messages leave its items alone until the lease is over; its own need not wait."""
    items = save_paintings(world, 3)
    kill(world, watch, point, items, holder="message")
    assert {str(each.status) for each in sync_batch(world, "painting", items)} == {"None"}
    assert statuses(sync_batch(world, "painting", items, holder="message")) == {"synced": 3}
    assert_agreement(world)


@pytest.mark.parametrize("point", POINTS, ids=" ".join)
def test_a_batch_that_died_is_finished_by_any_message_in_the_end(
    world: World, watch: Watch, point: Point
) -> None:
    """Its message is lost as well: once the leases are over, all is as if it had never run."""
    items = save_paintings(world, 3)
    world.platform.edit("painting", items[2], nuked=True)
    kill(world, watch, point, items)
    world.platform.edit("painting", items[1], code="edited")
    end_leases(world, PAINTING)
    sync_batch(world, "painting", items)
    assert_all_published(world, items)


def test_an_edit_is_not_lost_with_the_batch_that_wrote_the_first_version(
    world: World, watch: Watch
) -> None:
    """The record is there, the state does not know it, and the document has moved on."""
    items = save_moods(world, 5)
    kill(world, watch, ("after", "apply"), items, type_name="mood")
    world.platform.edit("mood", items[0], mood="edited")
    world.platform.edit("mood", items[1], nuked=True)
    world.platform.delete("mood", items[2])
    end_leases(world, MOOD)
    outcomes = sync_batch(world, "mood", items)
    assert [each.status for each in outcomes][:3] == ["synced", "removed", "removed"]
    assert world.record("mood", items[0])["text"] == "edited"
    assert_agreement(world)


def test_two_batches_over_the_same_items_publish_each_once(world: World, watch: Watch) -> None:
    """The second begins while the first is at each of its calls, from another process."""
    items = save_paintings(world, 6)
    others = [threading.Thread(target=sync_batch, args=(world, "painting", items)) for _ in POINTS]
    for point, other in zip(POINTS, others, strict=True):
        watch.at(point, other.start)
    sync_batch(world, "painting", items, batches=watch.batches)
    for other in others:
        other.join()
    assert {world.platform.state("painting", item)["status"] for item in items} == {"synced"}
    assert_agreement(world)


def test_a_storm_of_batches_syncs_and_edits_ends_in_agreement(world: World) -> None:
    """Three at once, random edits, nukes and revivals, every message doubled."""
    items = save_moods(world, 10)

    def storm(seed: int) -> None:
        dice = random.Random(seed)
        for number in range(8):
            mood = dice.choice(items)
            changes: dict[str, object] = dice.choice(
                [{"mood": f"{seed} {number}"}, {"nuked": True}, {"nuked": False}]
            )
            world.platform.edit("mood", mood, **changes)
            if dice.random() < 0.5:
                sync_batch(world, "mood", items)
            else:
                world.sync("mood", mood)
                world.sync("mood", mood)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(storm, range(3)))
    sync_batch(world, "mood", items)
    assert_agreement(world)
    for mood in items:
        document = world.platform.document("mood", mood)
        if not document.get("nuked"):
            assert world.record("mood", mood)["text"] == document["mood"]


def kill(
    world: World,
    watch: Watch,
    point: Point,
    items: list[ObjectId],
    *,
    type_name: str = "painting",
    holder: str = "the dead one",
) -> None:
    """Sync a batch by a worker that is killed at a point."""
    watch.at(point, kill_worker)
    with pytest.raises(WorkerKilledError):
        sync_batch(world, type_name, items, batches=watch.batches, holder=holder)
