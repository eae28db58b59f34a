"""A user's account or screen name changes: sweeps bring their records up to date on a real PDS."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.bulk import MOOD, put_foreign, repo, save_moods, set_state, statuses, sync_batch
from tests.contract.items import claim_in_batch, refuse
from tests.world import World
from worker.core.clock import now
from worker.core.documents import Account, ItemRef, MediaDocument
from worker.database.account_changes import AccountChanges
from worker.database.store import Finish
from worker.dev.stack.accounts import PdsAccount, create_account
from worker.pds.repo import Repo
from worker.queue.names import FRONT, OVERFLOW
from worker.sync.account_changes import mark_moved
from worker.sync.adoption import Adoption


def sweep_and_sync(world: World) -> list[str]:
    """Sweep twice, as the first sweep marks items; sync what is enqueued, return the statuses."""
    refs: list[ItemRef] = []
    for _ in range(2):
        world.services.sync.sweep.run(
            {FRONT: 0, OVERFLOW: 0}, lambda ref, _priority: refs.append(ref), refuse
        )
    outcomes = [
        world.services.sync.engine.sync(
            ref.type, str(ref.id), holder=uuid4().hex, only_if_due=False
        )
        for ref in refs
    ]
    return [str(outcome.status) for outcome in outcomes]


def change_account(world: World) -> PdsAccount:
    """Give ada another account on the PDS; the world keeps her old DID as `old`."""
    account = create_account(world.environ["PDS_URL"], f"ada-{uuid4().hex[:8]}")
    atproto = {"did": account.did, "handle": account.handle, "password": account.password}
    world.services.storage.database["users"].update_one(
        {"_id": world.ada}, {"$set": {"atproto": atproto}}
    )
    world.dids["old"] = world.dids[world.ada]
    world.dids[world.ada] = account.did
    return account


def publish_piece(world: World, slug: str) -> ObjectId:
    """Save a piece of ada with its program, and sync it."""
    world.platform.store(f"{slug}.mjs", b"// piece\n", world.ada)
    piece = world.platform.save_piece(slug, world.ada)
    assert world.sync("piece", piece).status == "synced"
    return piece


def repos_of(world: World, type_name: str, item: ObjectId) -> list[str]:
    """Return the DIDs of the repos that have a record of an item."""
    uris = [str(record["uri"]) for record in world.records(type_name, item)]
    return [uri.split("/")[2] for uri in uris]


def test_a_new_screen_name_updates_the_links_of_pieces(new_world: World) -> None:
    """The record stays at its key."""
    world = new_world
    piece, mood = publish_piece(world, "clock"), world.publish_mood("calm")
    assert sweep_and_sync(world) == []
    before = world.platform.state("piece", piece)
    handles = world.services.storage.database["@handles"]
    handles.update_one({"_id": world.ada}, {"$set": {"handle": "lovelace"}})
    assert sweep_and_sync(world) == ["synced"]
    assert str(world.record("piece", piece)["acUrl"]).endswith("/@lovelace/clock")
    after = world.platform.state("piece", piece)
    assert (after["uri"], after["blobs"]) == (before["uri"], before["blobs"])
    assert len(world.records("piece", piece)) == len(world.records("mood", mood)) == 1
    assert sweep_and_sync(world) == []


def test_a_new_did_moves_an_item_with_its_files(
    new_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The old repo cannot be written any more, so its record stays, and the log reports it."""
    world = new_world
    painting = world.publish_painting("moving")
    assert sweep_and_sync(world) == []
    old = world.platform.state("painting", painting)
    change_account(world)
    with caplog.at_level(logging.WARNING):
        assert sweep_and_sync(world) == ["synced"]
    state, new = world.platform.state("painting", painting), world.dids[world.ada]
    assert (state["repo"], state["rkey"]) == (new, old["rkey"])
    assert world.blob(new, world.record("painting", painting)["thumbnail"])
    assert set(repos_of(world, "painting", painting)) == {new, world.dids["old"]}
    reported = [each.getMessage() for each in caplog.records if "not deleted" in each.getMessage()]
    assert reported == [f"record not deleted, its account is unknown: {old['uri']}"]
    assert sweep_and_sync(world) == []


def test_a_move_deletes_the_old_record_while_the_old_account_is_known(new_world: World) -> None:
    """Another user of the platform has it now."""
    world = new_world
    mood = world.publish_mood("calm")
    assert sweep_and_sync(world) == []
    users = world.services.storage.database["users"]
    account = users.find_one({"_id": world.ada})
    assert account is not None
    change_account(world)
    users.insert_one({"_id": "auth0|spare", "atproto": account["atproto"]})
    assert sweep_and_sync(world) == ["synced"]
    assert repos_of(world, "mood", mood) == [world.dids[world.ada]]


def test_a_new_did_moves_many_items_of_several_types(new_world: World) -> None:
    """With a new screen name at the same time, each is synced once."""
    world = new_world
    moods = [world.publish_mood(f"mood {number}") for number in range(24)]
    pieces = [publish_piece(world, f"piece{number}") for number in range(6)]
    assert sweep_and_sync(world) == []
    change_account(world)
    handles = world.services.storage.database["@handles"]
    handles.update_one({"_id": world.ada}, {"$set": {"handle": "lovelace"}})
    assert sweep_and_sync(world) == ["synced"] * 30
    new = world.dids[world.ada]
    states = [world.platform.state("mood", mood) for mood in moods]
    states += [world.platform.state("piece", piece) for piece in pieces]
    assert {(state["status"], state["repo"]) for state in states} == {("synced", new)}
    links = {str(world.record("piece", piece)["acUrl"]) for piece in pieces}
    assert all("/@lovelace/" in link for link in links)
    assert sweep_and_sync(world) == []


def test_after_a_move_to_another_pds_the_latest_items_are_compared_with_it(
    new_world: World,
) -> None:
    """The old PDS has taken the last write and the last removal; the new one knows of neither."""
    world = new_world
    earlier = world.publish_mood("earlier")
    moment = world.platform.state("mood", earlier)["syncedAt"]
    assert isinstance(moment, datetime)
    written, removed, wiped = (world.publish_mood(text) for text in ("written", "removed", "wiped"))
    rkey = str(world.platform.state("mood", removed)["rkey"])
    world.platform.edit("mood", removed, deleted=True)
    assert world.sync("mood", removed).status == "removed"
    set_state(world, MOOD, wiped, status="removed", reason="wiped", syncedAt=now())
    assert sweep_and_sync(world) == []
    did = world.dids[world.ada]
    put_foreign(world, world.ada, "mood", rkey, ref=str(removed))
    owner = repo(world, world.ada)
    owner.delete(owner.key(MOOD.nsid, str(world.platform.state("mood", written)["rkey"])))
    storage = world.services.storage
    changes = AccountChanges(storage.database, storage.accounts, storage.store)
    mark_moved(changes, storage.accounts, did, moment.timestamp() + 0.001)
    assert sorted(sweep_and_sync(world)) == ["removed", "synced"]
    assert repos_of(world, "mood", written) == [did]
    assert repos_of(world, "mood", removed) == []
    assert sweep_and_sync(world) == []


@pytest.mark.parametrize("in_batch", [False, True])
def test_a_move_marks_items_that_are_being_published(new_world: World, *, in_batch: bool) -> None:
    """Their runs may be writing to the old PDS."""
    storage, did = new_world.services.storage, new_world.dids[new_world.ada]
    mood = new_world.platform.save_mood("under way", new_world.ada)
    claimed = (
        claim_in_batch(new_world.services, ItemRef("mood", mood))
        if in_batch
        else storage.store.claim(MOOD, [mood], holder="message", lease=100)
    )
    assert isinstance(claimed, MediaDocument)
    changes = AccountChanges(storage.database, storage.accounts, storage.store)
    mark_moved(changes, storage.accounts, did, now().timestamp())
    assert storage.store.finish(MOOD, claimed, claimed.state) is Finish.CHANGED


def test_a_new_did_marks_new_items_in_a_batch(new_world: World) -> None:
    """The batch reserved their record keys in the old repo; other items have no key yet."""
    storage = new_world.services.storage
    mood, _ = (new_world.platform.save_mood(text, new_world.ada) for text in ("begun", "new"))
    claimed = claim_in_batch(new_world.services, ItemRef("mood", mood), rkey="3kqk2q2a2aa2a")
    account = storage.accounts.find(new_world.ada)
    assert account is not None
    changes = AccountChanges(storage.database, storage.accounts, storage.store)
    assert changes.mark_in_other_repos(MOOD, account) == 1
    assert storage.store.finish(MOOD, claimed, claimed.state) is Finish.CHANGED


def test_an_item_taken_down_after_the_change_is_not_enqueued_for_ever(new_world: World) -> None:
    """Its record is in the repo of an account that is unknown now."""
    world = new_world
    mood = world.publish_mood("regrets")
    assert sweep_and_sync(world) == []
    change_account(world)
    world.platform.edit("mood", mood, deleted=True)
    assert world.sync("mood", mood).detail == "deleted"
    state = world.platform.state("mood", mood)
    assert (state["status"], state["repo"]) == ("skipped", world.dids["old"])
    assert sweep_and_sync(world) == []
    world.platform.edit("mood", mood, deleted=False)
    assert world.sync("mood", mood).status == "synced"
    assert world.platform.state("mood", mood)["repo"] == world.dids[world.ada]


def test_an_account_that_changes_while_a_backfill_reads_the_repo_gets_the_items(
    new_world: World,
) -> None:
    """The sweep may have marked them before the batch claims them."""
    world = new_world
    moods = save_moods(world, 3)
    adoption = world.services.sync.batches.adoption

    class SlowAdoption(Adoption):
        def adopt_for_backfill(self, repo: Repo, account: Account, backfill: str) -> None:
            super().adopt_for_backfill(repo, account, backfill)
            change_account(world)

    slow = SlowAdoption(
        adoption.redis,
        adoption.vault,
        adoption.locks,
        adoption.store,
        adoption.state_updates,
        adoption.adopted,
        adoption.lexicons,
        adoption.max_lost,
    )
    batches = replace(world.services.sync.batches, adoption=slow)
    assert statuses(sync_batch(world, "mood", moods, batches=batches, backfill=uuid4().hex)) == {
        "synced": 3
    }
    assert [repos_of(world, "mood", mood) for mood in moods] == [[world.dids[world.ada]]] * 3
