"""A repo that ends the processes that read it: its items fail, until it can be read again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis

from tests.bulk import error_of, new_user
from tests.fleet import Process, worker
from tests.scene import SHORT_VISIBILITY, Scene, open_scene
from tests.waiting import wait_for
from tests.world import World, Worlds
from worker.core.clock import now
from worker.database.mongo import RawDocument
from worker.dev.stack import Stack


@pytest.fixture
def scene(own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Open a platform without a worker."""
    with open_scene(own_worlds, tmp_path_factory.mktemp("kills"), **SHORT_VISIBILITY) as opened:
        yield opened


def test_a_repo_that_kills_its_workers_fails_its_items_until_it_can_be_read(
    scene: Scene, own_stack: Stack
) -> None:
    """Kill -9 of three processes that read it; then no other one does, for an hour."""
    world = scene.world
    user = new_user(world)
    with worker(scene.environ, scene.folder, 1) as first:
        own_stack.pds.freeze()
        try:
            moods = scene.enqueue_batch(user, 2)
            for number in range(1, world.services.settings.retry.max_lost + 1):
                kill_reader(scene, first, user, number)
            for mood in moods:
                scene.wait_for_status("mood", mood, "failed")
        finally:
            own_stack.pds.thaw()
        assert {error_of(world, "mood", mood) for mood in moods} == {
            ("failed", "read", "worker_lost")
        }
        let_hour_pass(world, user)
        for mood in moods:
            world.platform.edit("mood", mood, mood="edited")
            scene.enqueue("mood", mood)
            scene.wait_for_status("mood", mood, "synced")
    assert "reads" not in account_of(world, user)


def kill_reader(scene: Scene, worker: Process, user: str, number: int) -> None:
    """Kill the process that reads a user's repo as the n-th one, and let its lock end."""
    wait_for(
        lambda: account_of(scene.world, user).get("reads") == number,
        what=f"read number {number} of the repo",
    )
    (child,) = worker.children()
    child.kill()
    child.wait()
    with redis.Redis.from_url(scene.environ["REDIS_URL"]) as client:
        client.delete(f"media-atproto:repo:{scene.world.dids[user]}")


def account_of(world: World, user: str) -> RawDocument:
    """Return what is known about the account of a user."""
    return world.services.storage.database["atproto_accounts"].find_one({"_id": user}) or {}


def let_hour_pass(world: World, user: str) -> None:
    """Have the last read of a user's repo lie more than an hour back."""
    accounts = world.services.storage.database["atproto_accounts"]
    before = {"readAt": now() - timedelta(hours=1, minutes=1)}
    assert accounts.update_one({"_id": user}, {"$set": before}).matched_count == 1
