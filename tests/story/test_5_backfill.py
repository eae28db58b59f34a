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
    new_user,
    put_foreign,
    repo,
    save_moods,
    save_one_of,
    set_state,
)
from tests.world import World
from worker.bulk.backfill import Batch, Scope
from worker.bulk.progress import Tally
from worker.media import media_type

GUESTS = "art-guest"


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


def test_a_second_run_finds_nothing_to_do(world: World) -> None:
    """No repo is even asked."""
    save_years(world, 1)
    run_backfill(world)
    revisions = [world.revision(did) for did in world.dids.values()]
    assert run_backfill(world) == Tally(0, {}, {})
    assert [world.revision(did) for did in world.dids.values()] == revisions


def test_a_survey_tells_what_there_is_to_do_and_changes_nothing(world: World) -> None:
    """And what will be left out, and why: none of that is an error."""
    save_years(world, 2)
    nuked, deleted, lonely = save_moods(world, 3)
    world.platform.edit("mood", nuked, nuked=True)
    world.platform.edit("mood", deleted, deleted=True)
    world.platform.edit("mood", lonely, user="auth0|without-account")
    survey = world.services.backfiller.survey(Scope(KINDS))
    assert survey.wanted == {"painting": 6, "mood": 4, "piece": 6, "kidlisp": 6}
    assert survey.left_out == {
        ("mood", "guests_not_published"): 2,
        ("mood", "nuked"): 1,
        ("mood", "deleted"): 1,
        ("mood", "no_account"): 1,
    }
    assert survey.accounts == 3
    assert set(states(world)) == {"None"}


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


def test_items_that_only_lack_a_file_are_up_and_come_right_later(world: World) -> None:
    """The image arrives after the first backfill."""
    painting = world.platform.save_painting("late", world.ada)
    assert run_backfill(world).ended == {("painting", "partial"): 1}
    there = world.platform.document("painting", save_one_of(world, "painting", world.ada))["slug"]
    world.platform.edit("painting", painting, slug=there)
    assert run_backfill(world).ended == {("painting", "synced"): 2}
    assert_agreement(world)


def test_items_that_were_given_up_are_tried_on_request(world: World) -> None:
    """Not without: they would fail again."""
    good, bad = save_moods(world, 2)
    world.platform.edit("mood", bad, mood=5)
    tally = run_backfill(world)
    assert tally.ended == {("mood", "synced"): 1, ("mood", "failed"): 1}
    assert tally.reasons == {("mood", "field_invalid"): 1}
    world.platform.edit("mood", bad, mood="repaired")
    assert run_backfill(world).total == 0
    assert run_backfill(world, failed=True).ended == {("mood", "synced"): 1}
    assert good in world.platform.states("mood")


def test_an_account_that_appears_later_is_served_by_the_next_run(world: World) -> None:
    """Until then its items are counted, and wait."""
    mood = world.platform.save_mood("early bird", "auth0|later")
    assert run_backfill(world).total == 0
    world.sync("mood", mood)
    assert world.platform.state("mood", mood)["reason"] == "no_account"
    users = world.services.database["users"]
    account = (users.find_one({"_id": new_user(world)}) or {})["atproto"]
    users.insert_one({"_id": "auth0|later", "atproto": account})
    assert run_backfill(world).ended == {("mood", "synced"): 1}


def test_who_interrupts_it_picks_up_what_is_left_with_the_next_run(world: World) -> None:
    """At any moment: what was enqueued is done, and nothing is done twice."""
    number = save_years(world, 2)
    sent = count(1)

    def interrupt(_batch: Batch) -> None:
        if next(sent) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Queue(world, interrupt).errand().enqueue()
    done = states(world)["synced"]
    assert 0 < done < number
    assert run_backfill(world).total == number - done
    assert_agreement(world)


def test_messages_that_are_lost_are_sent_again(world: World) -> None:
    """No message is left, and not all was told of: the documents are asked what is missing."""
    number = save_years(world, 2)
    sent = count()
    errand = Queue(world, lambda _batch: next(sent) < 6).errand(stalled=600.0)
    errand.enqueue()
    assert states(world)["synced"] < number
    assert errand.wait().total == number
    assert states(world)["synced"] == number
    assert_agreement(world)


def test_a_queue_that_loses_everything_is_not_asked_for_ever(world: World) -> None:
    """Enqueued once more, and once more in vain: whoever waits is let go."""
    save_moods(world, 3)
    tried = count()
    errand = Queue(world, lambda _batch: next(tried) >= 0).errand()
    errand.enqueue()
    assert errand.wait().total == 0
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

    errand = Queue(world, people).errand()
    errand.enqueue()
    errand.wait()
    assert world.record("mood", moods[0])["text"] == "edited"
    assert world.record("mood", new[0])
    assert world.records("mood", moods[1]) == world.records("mood", moods[2]) == []
    assert states(world) == {"synced": 29, "skipped": 1}
    assert_agreement(world)


def test_a_limit_takes_so_many_and_the_next_run_the_rest(world: World) -> None:
    """To try it out on some."""
    number = save_years(world, 2)
    assert run_backfill(world, limit=5).total == 5
    assert states(world)["synced"] == 5
    assert run_backfill(world).total == number - 5


def test_one_users_items_are_published_alone(world: World) -> None:
    """Or the guests', or one type's."""
    save_years(world, 1)
    run_backfill(world, owners=[world.ada])
    assert states(world)["synced"] == 4
    run_backfill(world, owners=[GUESTS])
    assert states(world)["synced"] == 7
    run_backfill(world, kinds=[media_type("piece")])
    assert states(world)["synced"] == 8
    assert_agreement(world)


def test_wiped_items_stay_away_until_they_are_restored(world: World) -> None:
    """At the addresses that they had."""
    moods = save_moods(world, 3)
    run_backfill(world)
    keys = {item: world.platform.state("mood", item)["rkey"] for item in moods}
    owner = repo(world, world.ada)
    for item, rkey in keys.items():
        owner.delete(owner.key(MOOD.nsid, str(rkey)))
        gone = {"status": "removed", "reason": "wiped", "repo": owner.did, "rkey": rkey}
        set_state(world, MOOD, item, **gone)
    world.platform.edit("mood", moods[2], nuked=True)
    assert run_backfill(world).total == 0
    assert run_backfill(world, owners=[world.ada], removed=True).total == 2
    assert {item: world.platform.state("mood", item)["rkey"] for item in moods} == keys
    assert states(world) == {"synced": 2, "removed": 1}
    assert_agreement(world)
