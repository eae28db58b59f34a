"""Before the first write to a repo its records are adopted, so that no item gets a second one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.bulk import end_leases, new_user, save_moods, save_one_of, save_painting, sync_batch
from tests.contract.older_records import Older, write_older
from tests.watching import Watch
from tests.world import World
from worker.core.clock import now
from worker.core.documents import MediaDocument
from worker.media import media_type
from worker.sync.batch.engine import BatchRequest
from worker.sync.engine import Engine

MOOD = media_type("mood")


@pytest.fixture
def user(world: World) -> str:
    """A new user of the world."""
    return new_user(world)


@pytest.fixture
def older(world: World, user: str) -> Older:
    """A mood without any state, with the record of an older program."""
    return write_older(world, user, "mood", save_one_of(world, "mood", user))


def watched(world: World, watch: Watch) -> Engine:
    """Return an engine whose calls are counted."""
    return replace(world.services.sync.engine, open_repo=watch.open_repo)


def test_an_item_without_a_state_keeps_its_older_record(older: Older) -> None:
    """A sweep or a producer may be faster than the first backfill."""
    before = older.revision
    assert older.sync() == "synced"
    older.assert_adopted()
    assert (older.revision, older.findings()) == (before, [])


def test_the_records_of_other_items_are_adopted_with_the_first_one(
    world: World, user: str, watch: Watch, older: Older
) -> None:
    """The repo is read once, whatever is published afterwards."""
    drafts = [world.platform.save_mood("draft", user) for _ in range(2)]
    for draft in drafts:
        world.platform.edit("mood", draft, status="wip")
        world.sync("mood", draft, engine=watched(world, watch))
    assert older.state["rkey"] == older.key.rkey
    assert older.sync(watched(world, watch)) == "synced"
    older.assert_adopted()
    assert watch.count["export"] == 1


@pytest.mark.parametrize("is_first", [True, False], ids=["alone", "after another item"])
def test_a_hidden_items_older_record_is_removed(world: World, user: str, *, is_first: bool) -> None:
    """Also when another item was first: the sweep then enqueues it."""
    hidden = write_older(world, user, "kidlisp", save_one_of(world, "kidlisp", user))
    world.platform.edit("kidlisp", hidden.item, nuked=True)
    if not is_first:
        world.sync("mood", save_moods(world, 1, user)[0])
        assert hidden.state["status"] == "pending"
    assert hidden.sync() == "removed"
    assert world.records("kidlisp", hidden.item) == []


def test_a_painting_that_waits_for_its_code_keeps_its_older_record(world: World, user: str) -> None:
    """The record is completed once the code is there, as after any edit."""
    painting = write_older(world, user, "painting", save_painting(world, 9, user))
    world.platform.edit("painting", painting.item, code=None)
    before = painting.revision
    assert painting.sync() == "skipped"
    assert painting.revision == before
    world.platform.edit("painting", painting.item, code=painting.record["code"])
    assert painting.sync() == "synced"
    painting.assert_adopted()
    assert painting.published == {**painting.record, "acUrl": painting.published["acUrl"]}


def test_an_item_that_another_run_holds_adopts_its_record_itself(
    world: World, user: str, older: Older
) -> None:
    """The repo counts as adopted when no record is left."""
    held = world.services.storage.store.claim(MOOD, [older.item], holder="other", lease=100)
    assert isinstance(held, MediaDocument)
    first, second = save_moods(world, 2, user)
    world.sync("mood", first)
    assert "rkey" not in older.state
    end_leases(world, MOOD)
    assert older.sync() == "synced"
    older.assert_adopted()
    world.sync("mood", second)
    known = world.services.storage.database["atproto_accounts"].find_one({"_id": user})
    assert known
    assert known["adopted"] == older.did


def test_a_batch_of_no_backfill_adopts_as_well(world: World, user: str, older: Older) -> None:
    """Such as one of `retry`."""
    sync_batch(world, "mood", [*save_moods(world, 2, user), older.item], subject=user)
    older.assert_adopted()
    assert older.findings() == []


def reads_of(world: World, user: str) -> object:
    """Return the number of unfinished reads of a user's repo."""
    known = world.services.storage.database["atproto_accounts"].find_one({"_id": user}) or {}
    return known.get("reads")


def test_read_of_a_repo_is_counted_until_it_ends(world: World, user: str, watch: Watch) -> None:
    """A worker that dies meanwhile leaves the count behind, before any document is claimed."""
    counts: list[object] = []
    watch.at(("before", "export"), lambda: counts.append(reads_of(world, user)))
    sync_batch(world, "mood", save_moods(world, 2, user), subject=user, batches=watch.batches)
    assert counts == [1]
    assert reads_of(world, user) is None


@pytest.mark.parametrize("backfill", [None, "b"], ids=["no backfill", "backfill"])
def test_repo_that_kills_its_workers_is_not_read_again(
    world: World, user: str, watch: Watch, backfill: str | None
) -> None:
    """After three workers the items fail, until an hour has passed."""
    accounts = world.services.storage.database["atproto_accounts"]
    lost = {"reads": 3, "readAt": now()}
    accounts.update_one({"_id": user}, {"$set": lost}, upsert=True)
    moods = save_moods(world, 2, user)

    def sync() -> set[str | None]:
        request = BatchRequest(MOOD, user, moods, "holder", backfill)
        outcomes = watch.batches.sync(request)
        return {outcome.error.code if outcome.error else None for outcome in outcomes}

    assert sync() == {"worker_lost"}
    assert watch.count["export"] == 0
    accounts.update_one({"_id": user}, {"$set": {"readAt": now() - timedelta(hours=2)}})
    assert sync() == {None}
    assert watch.count["export"] == 1
