"""`media-atproto watch` when it is killed, stopped or overtaken, and when services go away.

A worker without beat: no sweep helps but the one that a lost position asks for.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from bson import ObjectId

from tests.fleet import stopped, worker
from tests.own_mongod import forget, forgetful_mongod, lone_mongod
from tests.scene import Scene, open_scene
from tests.sentry_server import sentry_server
from tests.system.watcher import (
    at_work,
    await_count,
    await_text,
    await_watch,
    publish,
    watching,
    where,
)
from tests.terminal import Terminal, run
from tests.waiting import wait_for
from tests.world import Worlds
from worker.dev.stack import Stack
from worker.operations.watch.checkpoint import COLLECTION


@pytest.fixture(scope="module")
def scene(own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A platform with a worker."""
    folder = tmp_path_factory.mktemp("watch-faults")
    with open_scene(own_worlds, folder) as opened, worker(opened.environ, folder):
        yield opened


def save(scene: Scene, text: str) -> ObjectId:
    """Save a mood as a program that knows nothing of the queue."""
    return scene.world.platform.save_mood(text, scene.world.ada)


def kill(watcher: Terminal) -> None:
    """End a watcher as the kernel does."""
    watcher.process.kill()
    watcher.process.wait()


def test_a_killed_watcher_goes_on_where_it_was(scene: Scene) -> None:
    """What was saved, edited and nuked meanwhile is found by the token."""
    edited, nuked = save(scene, "before"), save(scene, "to be nuked")
    with at_work(scene) as watcher:
        scene.world.platform.edit("mood", edited, mood="once")
        scene.world.platform.edit("mood", nuked, mood="up")
        await_text(scene, edited, "once")
        await_text(scene, nuked, "up")
        kill(watcher)
    new = save(scene, "saved while nobody watched")
    scene.world.platform.edit("mood", edited, mood="twice")
    scene.world.platform.edit("mood", nuked, nuked=True)
    with watching(scene.environ, scene.folder):
        scene.wait_for_status("mood", new, "synced")
        scene.wait_for_status("mood", nuked, "removed")
        await_text(scene, edited, "twice")


def test_of_two_watchers_one_watches_and_the_other_takes_over(scene: Scene) -> None:
    """When the first is killed, and at once when it is told to stop."""
    with (
        watching(scene.environ, scene.folder) as first,
        watching(scene.environ, scene.folder) as second,
    ):
        wait_for(lambda: "standing by" in first.stderr + second.stderr, what="one to stand by")
        active, standby = (second, first) if "standing by" in first.stderr else (first, second)
        await_watch(scene.world, active)
        before = where(scene.world).enqueued
        publish(scene, "one message")
        await_count(scene.world, before + 1)
        kill(active)
        await_watch(scene.world, standby)
        publish(scene, "taken over")
        with watching(scene.environ, scene.folder) as third:
            third.await_said("standing by")
            standby.process.send_signal(signal.SIGTERM)
            assert standby.process.wait(60) == 0
            assert f":{standby.process.pid}:" not in (where(scene.world).holder or "")
            await_watch(scene.world, third)
            publish(scene, "handed over")


def test_a_watcher_that_was_stopped_for_long_changes_nothing_any_more(scene: Scene) -> None:
    """It finds that it was overtaken, and stands by."""
    with at_work(scene) as first:
        first.process.send_signal(signal.SIGSTOP)
        try:
            with at_work(scene):
                fence = where(scene.world).fence
                first.process.send_signal(signal.SIGCONT)
                first.await_said("another watcher has taken over")
                first.await_said("standing by")
                assert where(scene.world).fence == fence
                publish(scene, "by the second")
        finally:
            first.process.send_signal(signal.SIGCONT)


def test_what_is_saved_while_redis_is_away_waits_in_the_oplog(
    scene: Scene, own_stack: Stack
) -> None:
    """The token stays where it is until the queue takes messages again; it says so once."""
    with at_work(scene) as watcher:
        with stopped(own_stack.valkey):
            before = where(scene.world)
            moods = [save(scene, f"without Redis {n}") for n in range(5)]
            wait_for(
                lambda: where(scene.world).trouble == "redis_unavailable",
                what="the watch to say what it waits for",
            )
            assert where(scene.world).token == before.token
        for mood in moods:
            scene.wait_for_status("mood", mood, "synced")
        watcher.await_said("it goes on")
        assert watcher.stderr.count("the queue does not take messages") == 1


def test_mongodb_may_restart(scene: Scene, own_stack: Stack) -> None:
    """The watcher connects anew, and goes on from its token."""
    with at_work(scene) as watcher:
        own_stack.mongod.kill()
        own_stack.mongod.start()
        publish(scene, "after the restart")
        assert watcher.process.poll() is None


@pytest.mark.parametrize(
    "token", [{"_data": "zz"}, {"x": 1}, {"_data": "82"}], ids=["no token", "another form", "cut"]
)
def test_a_token_that_leads_nowhere_is_made_up_for_by_a_sweep(
    scene: Scene, token: dict[str, object]
) -> None:
    """What was edited and saved since is published, and the watch goes on from now."""
    world = scene.world
    edited = save(scene, "before")
    scene.enqueue("mood", edited)
    scene.wait_for_status("mood", edited, "synced")
    scene.wait_until_drained()
    positions = world.services.database[COLLECTION]
    positions.update_one({"_id": "position"}, {"$set": {"token": token}}, upsert=True)
    world.platform.edit("mood", edited, mood="after")
    with watching(scene.environ, scene.folder) as watcher:
        watcher.await_said("changes since then are unknown")
        await_text(scene, edited, "after")
        await_watch(world, watcher)
        publish(scene, "seen again")
        assert not where(world).must_sweep


def test_a_collection_that_is_dropped_is_no_end(scene: Scene) -> None:
    """What an upheaval did to documents is swept up, and the watch goes on."""
    world = scene.world
    with at_work(scene) as watcher:
        world.services.database["pieces"].insert_one({"slug": "x"})
        world.services.database["pieces"].drop()
        watcher.await_said("pieces: drop")
        # Until then its place is the old one: a mood saved now would be too new for the sweep.
        watcher.await_said("are due for the sweep")
        publish(scene, "after the drop")


def test_a_position_that_the_oplog_has_forgotten_is_made_up_for(
    own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory, bare_environ: dict[str, str]
) -> None:
    """On a server whose oplog is small: edits and new items of the time are published.

    Sentry gets a warning.
    """
    folder, data = tmp_path_factory.mktemp("forgotten"), tmp_path_factory.mktemp("forgetful")
    with (
        forgetful_mongod(data, bare_environ) as url,
        open_scene(own_worlds, folder, MONGODB_CONNECTION_STRING=url) as scene,
        worker(scene.environ, folder),
        sentry_server() as sentry,
    ):
        with at_work(scene):
            edited = publish(scene, "before")
            scene.wait_until_drained()
        scene.world.platform.edit("mood", edited, mood="after")
        new = save(scene, "new")
        forget(url)
        with watching({**scene.environ, "SENTRY_DSN": sentry.dsn}, folder) as watcher:
            watcher.await_said("MongoDB cannot go on from there (286)")
            await_text(scene, edited, "after")
            scene.wait_for_status("mood", new, "synced")
            publish(scene, "seen again")
            (event,) = wait_for(lambda: sentry.events, what="the warning")
    assert event.body["level"] == "warning"
    assert event.group == ("watch", "position_lost")


def test_a_mongodb_that_is_no_replica_set_is_told_of(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With what to do, and exit code 1."""
    with lone_mongod(tmp_path_factory.mktemp("lone")) as url:
        code, _, told = run(["watch"], {**scene.environ, "MONGODB_CONNECTION_STRING": url})
    assert code == 1
    assert "is no replica set" in told
    assert "--replSet" in told
    assert "Traceback" not in told
