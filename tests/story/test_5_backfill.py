"""Chapter 5: years of items that were never published, or published badly, are put right."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest
from bson import ObjectId

from tests.backfills import Queue, run_backfill
from tests.bulk import (
    KINDS,
    MOOD,
    assert_agreement,
    put_foreign,
    repo,
    save_moods,
    save_one_of,
)
from tests.world import World
from worker.operations.backfill.planner import Batch


@pytest.fixture
def world(new_world: World) -> World:
    """Return a world where nothing was ever published."""
    return new_world


def save_years(world: World, each: int = 3) -> int:
    """Save items of every type, of ada, bob and guests; return how many are to be published."""
    users = [world.ada, world.bob, None]
    for kind in KINDS:
        for user in users:
            for _ in range(each):
                save_one_of(world, kind.name, user)
    return each * (len(KINDS) * len(users) - 1)  # guests' moods are not


def states(world: World) -> Counter[str]:
    """Count all items by their status."""
    return Counter(
        str(state.get("status"))
        for kind in KINDS
        for state in world.platform.states(kind.name).values()
    )


def test_everything_that_was_never_published_is(world: World) -> None:
    """Of all types and accounts; guests' moods stay where they are."""
    number = save_years(world)
    tally = run_backfill(world)
    assert (tally.total, set(tally.reasons)) == (number, set())
    assert states(world) == {"synced": number, "None": 3}
    assert_agreement(world)


def test_what_another_program_published_is_taken_over(world: World) -> None:
    """Its records keep their keys; none gets a twin, and what is not ours stays."""
    moods = save_moods(world, 5)
    for number, mood in enumerate(moods[:3]):
        put_foreign(world, world.ada, "mood", f"3foreign2222{number + 2}", ref=str(mood))
    put_foreign(world, world.ada, "mood", "self", text="about me")
    run_backfill(world)
    keys = {record.rkey for record in repo(world, world.ada).records(MOOD.nsid)}
    assert {"self", "3foreign22222", "3foreign22223", "3foreign22224"} < keys
    assert len(keys) == 6


def test_who_interrupts_it_picks_up_what_is_left_with_the_next_run(world: World) -> None:
    """At any moment: what was enqueued is done, and nothing is done twice."""
    number = save_years(world, 2)
    sent = count(1)

    def interrupt(_batch: Batch) -> None:
        if next(sent) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Queue(world, interrupt).backfill_run().enqueue()
    done = states(world)["synced"]
    assert 0 < done < number
    assert run_backfill(world).total == number - done
    assert_agreement(world)


def test_messages_that_are_lost_are_sent_again(world: World) -> None:
    """No message is left, and not all was told of: the documents are asked what is missing."""
    number = save_years(world, 2)
    sent = count()
    backfill_run = Queue(world, lambda _batch: next(sent) < 6).backfill_run(stalled=600.0)
    backfill_run.enqueue()
    assert states(world)["synced"] < number
    assert backfill_run.wait().total == number
    assert states(world)["synced"] == number
    assert_agreement(world)


def test_a_queue_that_loses_everything_is_not_asked_for_ever(world: World) -> None:
    """Enqueued once more, and once more in vain: whoever waits is let go."""
    save_moods(world, 3)
    tried = count()
    backfill_run = Queue(world, lambda _batch: next(tried) >= 0).backfill_run()
    backfill_run.enqueue()
    assert backfill_run.wait().total == 0
    assert next(tried) == 3


def test_a_backfill_may_run_while_people_save(world: World) -> None:
    """Edits, new items and items taken down in the middle of it are right in the end."""
    moods = save_moods(world, 30)
    new: list[ObjectId] = []

    def people(batch: Batch) -> bool:
        if batch.kind is MOOD and not new:
            world.platform.edit("mood", moods[0], mood="edited")
            world.platform.edit("mood", moods[1], nuked=True)
            world.platform.delete("mood", moods[2])
            new.extend(save_moods(world, 1))
            for item in (moods[0], moods[1], *new):
                world.sync("mood", item)
        return False

    backfill_run = Queue(world, people).backfill_run()
    backfill_run.enqueue()
    backfill_run.wait()
    assert world.record("mood", moods[0])["text"] == "edited"
    assert world.record("mood", new[0])
    assert world.records("mood", moods[1]) == world.records("mood", moods[2]) == []
    assert states(world) == {"synced": 29, "skipped": 1}
    assert_agreement(world)
