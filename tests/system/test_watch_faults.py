"""`media-atproto watch` when it is killed or stopped, beside others, and when services go away.

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
    await_text,
    publish,
    watching,
    where,
)
from tests.terminal import Terminal, run
from tests.waiting import wait_for
from tests.world import Worlds
from worker.dev.stack import Stack
from worker.operations.watch.checkpoint import COLLECTION, read_checkpoint


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


def position(scene: Scene) -> str:
    """Return the saved token, which can be compared."""
    return str((where(scene.world).token or {})["_data"])


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


def test_two_watchers_at_once_lose_nothing(scene: Scene) -> None:
    """Nor publish anything twice, whichever of them is killed or stopped."""
    with at_work(scene) as first, at_work(scene) as second:
        moods = [save(scene, f"with two {n}") for n in range(10)]
        kill(first)
        moods += [save(scene, f"with one {n}") for n in range(10)]
        with at_work(scene):
            second.process.send_signal(signal.SIGTERM)
            assert second.process.wait(60) == 0
            moods += [save(scene, f"with another {n}") for n in range(10)]
            for mood in moods:
                scene.wait_for_status("mood", mood, "synced")
    scene.wait_until_drained()
    assert [len(scene.world.records("mood", mood)) for mood in moods] == [1] * len(moods)


def test_a_watcher_that_was_stopped_for_long_never_moves_the_position_back(scene: Scene) -> None:
    """It enqueues again what another one has enqueued, and then goes on."""
    with at_work(scene) as first:
        first.process.send_signal(signal.SIGSTOP)
        try:
            with at_work(scene) as second:
                publish(scene, "by the second")
                by_second = position(scene)
                first.process.send_signal(signal.SIGCONT)
                publish(scene, "by both")
                by_both = position(scene)
                kill(second)
            publish(scene, "by the first")
            assert by_second < by_both < position(scene)
        finally:
            first.process.send_signal(signal.SIGCONT)


def test_what_is_saved_while_redis_is_away_waits_in_the_oplog(
    scene: Scene, own_stack: Stack
) -> None:
    """The token stays where it is until the queue takes messages again; it says so once."""
    with at_work(scene) as watcher:
        with stopped(own_stack.valkey):
            moods = [save(scene, "without Redis")]
            wait_for(
                lambda: where(scene.world).trouble == "redis_unavailable",
                what="the watch to say what it waits for",
            )
            before = position(scene)
            moods += [save(scene, f"still without Redis {n}") for n in range(5)]
            watcher.await_said("trying again")
            assert position(scene) == before
        for mood in moods:
            scene.wait_for_status("mood", mood, "synced")
        watcher.await_said("recovered from redis_unavailable")
        wait_for(lambda: where(scene.world).trouble is None, what="the trouble to be over")
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
    positions = world.services.storage.database[COLLECTION]
    positions.update_one({"_id": "position"}, {"$set": {"token": token}}, upsert=True)
    world.platform.edit("mood", edited, mood="after")
    with watching(scene.environ, scene.folder) as watcher:
        watcher.await_said("changes since then are unknown")
        await_text(scene, edited, "after")
        publish(scene, "seen again")
        assert not where(world).must_sweep


def test_a_sweep_that_a_killed_watcher_left_undone_is_done_by_the_next(scene: Scene) -> None:
    """The saved position says so, though its token is good."""
    positions = scene.world.services.storage.database[COLLECTION]
    positions.update_one({"_id": "position"}, {"$set": {"mustSweep": True}})
    with watching(scene.environ, scene.folder) as watcher:
        watcher.await_said("are due for the sweep")
        wait_for(lambda: not where(scene.world).must_sweep, what="the sweep to be requested")


def test_a_collection_that_is_dropped_is_no_end(scene: Scene) -> None:
    """What an upheaval did to documents is swept up, and the watch goes on."""
    world = scene.world
    with at_work(scene) as watcher:
        world.services.storage.database["pieces"].insert_one({"slug": "x"})
        world.services.storage.database["pieces"].drop()
        watcher.await_said("pieces: drop")
        publish(scene, "after the drop")
        watcher.await_said("are due for the sweep")
        assert not where(world).must_sweep


def test_a_database_that_is_dropped_is_no_end(
    own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Though the saved position is dropped with it, and MongoDB ends the stream."""
    folder = tmp_path_factory.mktemp("dropped")
    with open_scene(own_worlds, folder) as scene, worker(scene.environ, folder):
        world = scene.world
        database = world.services.storage.database
        accounts = {name: list(database[name].find()) for name in ("users", "@handles")}
        with at_work(scene):
            publish(scene, "before")
            database.client.drop_database(database.name)
            wait_for(lambda: read_checkpoint(database), what="a new position to be saved")
            for name, documents in accounts.items():
                database[name].insert_many(documents)
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
    """With what to do, and exit code 2."""
    with lone_mongod(tmp_path_factory.mktemp("lone")) as url:
        code, _, told = run(["watch"], {**scene.environ, "MONGODB_CONNECTION_STRING": url})
    assert code == 2
    assert "is no replica set" in told
    assert "--replSet" in told
    assert "Traceback" not in told
