"""A save, a message, a real worker, a record: with everything real that runs in production."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from bson import ObjectId

from tasks import delete_media, enqueue, sync_media
from tests import pictures
from tests.fleet import beat, worker
from tests.messages import call
from tests.poison import POISON
from tests.scene import Scene, open_scene
from tests.waiting import wait_for
from tests.world import World, Worlds
from worker.core.clock import now
from worker.database.indexes import definitions
from worker.dev.stack import Stack


@pytest.fixture(scope="module")
def fleet(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Run a worker and beat for the tests that do not end them."""
    folder = tmp_path_factory.mktemp("fleet")
    with (
        open_scene(worlds, folder) as scene,
        worker(scene.environ, folder),
        beat(scene.environ, folder),
    ):
        yield scene


def published_mood(fleet: Scene, text: str) -> ObjectId:
    """Save and enqueue a mood of ada's, and wait until it is published."""
    mood = fleet.world.platform.save_mood(text, fleet.world.ada)
    enqueue("mood", mood)
    fleet.wait_for_status("mood", mood, "synced")
    return mood


def test_every_type_is_published_by_a_worker(fleet: Scene) -> None:
    """Five lines in an upload function: save, enqueue, done."""
    platform, ada = fleet.world.platform, fleet.world.ada
    platform.store("fleet.png", pictures.pixel_art(), ada)
    platform.store("fleet.mjs", b"export const x = 1\n", ada)
    items = {
        "painting": platform.save_painting("fleet", ada),
        "mood": platform.save_mood("by a worker", ada),
        "piece": platform.save_piece("fleet", ada),
        "kidlisp": platform.save_kidlisp("(line)", None),
    }
    for type_name, item in items.items():
        assert enqueue(type_name, item)
    for type_name, item in items.items():
        fleet.wait_for_status(type_name, item, "synced")
        assert fleet.world.record(type_name, item)["ref"] == str(item)


def test_tasks_can_be_called_as_any_celery_task(fleet: Scene) -> None:
    """`delete_media` is for a caller that knows the user and the rkey of a deleted document."""
    mood = fleet.world.platform.save_mood("short-lived", fleet.world.ada)
    sync_media.delay("mood", str(mood))
    fleet.wait_for_status("mood", mood, "synced")
    rkey = str(fleet.world.platform.state("mood", mood)["rkey"])
    fleet.world.platform.delete("mood", mood)
    delete_media.delay("mood", fleet.world.ada, rkey)
    wait_for(lambda: not fleet.world.records("mood", mood), within=30, what="the record to be gone")


def test_twenty_messages_for_one_item_make_one_commit(fleet: Scene) -> None:
    """Duplicates run side by side on two processes, and publish once."""
    mood = fleet.world.platform.save_mood("popular", fleet.world.ada)
    for _ in range(20):
        enqueue("mood", mood)
    fleet.wait_for_status("mood", mood, "synced")
    revision = fleet.world.revision(fleet.world.dids[fleet.world.ada])
    fleet.wait_until_drained()
    assert fleet.world.revision(fleet.world.dids[fleet.world.ada]) == revision
    assert len(fleet.world.records("mood", mood)) == 1


def test_an_item_whose_message_was_lost_is_found_by_the_sweep(fleet: Scene) -> None:
    """Saved, never enqueued: published all the same."""
    mood = fleet.world.platform.save_mood("nobody told the queue", fleet.world.ada)
    fleet.wait_for_status("mood", mood, "synced")


def test_an_edit_whose_message_was_lost_is_found_by_the_sweep(fleet: Scene) -> None:
    """Nothing on the document says that it changed, but its content does."""
    mood = published_mood(fleet, "before")
    fleet.world.platform.edit("mood", mood, mood="after")
    wait_for(
        lambda: fleet.world.record("mood", mood)["text"] == "after",
        within=60,
        what="the edit to be swept up",
    )


def test_a_redis_that_lost_everything_loses_no_item(fleet: Scene) -> None:
    """The queue is a hint: emptied, it is filled again from the documents."""
    platform = fleet.world.platform
    moods = [platform.save_mood(f"flushed {n}", fleet.world.ada) for n in range(5)]
    for mood in moods:
        enqueue("mood", mood)
    with redis.Redis.from_url(fleet.environ["REDIS_URL"]) as client:
        client.flushdb()
    for mood in moods:
        fleet.wait_for_status("mood", mood, "synced")


def save_old_moods(world: World, number: int) -> list[ObjectId]:
    """Save moods of ada's that are older than those that the sweep searches."""
    saved = now() - timedelta(days=100)
    base = ObjectId.from_datetime(saved).binary[:8]
    ids = [ObjectId(base + n.to_bytes(4)) for n in range(number)]
    documents = [{"_id": each, "mood": "old", "when": saved, "user": world.ada} for each in ids]
    world.services.storage.database["moods"].insert_many(documents)
    return ids


def test_with_the_pds_restarted_items_heal_by_themselves(
    own_scene: Scene, own_stack: Stack
) -> None:
    """Celery's own retry, and the sweep behind it, until PDS and document agree.

    Those of a backfill, too, whatever their age, and if all messages are lost.
    """
    world, folder = own_scene.world, own_scene.folder
    batch = save_old_moods(world, 3)
    with worker(own_scene.environ, folder), beat(own_scene.environ, folder):
        own_stack.pds.stop()
        try:
            moods = [world.platform.save_mood(f"outage {n}", world.ada) for n in range(3)]
            for mood in moods:
                enqueue("mood", mood)
            own_scene.send_batch(world.ada, batch, backfill="outage")
            for mood in [*moods, *batch]:
                own_scene.wait_for_status("mood", mood, "pending")
            with redis.Redis.from_url(own_scene.environ["REDIS_URL"]) as client:
                client.flushdb()
        finally:
            own_stack.pds.start()
        for mood in [*moods, *batch]:
            own_scene.wait_for_status("mood", mood, "synced")


def test_indexes_are_checked_once_and_not_by_each_child(own_scene: Scene) -> None:
    """A child that is not up after 4 seconds is killed: far from MongoDB, none ever would be."""
    world, collections = own_scene.world, {each.collection for each in definitions()}
    before = index_commands(own_scene)
    options = ("--max-tasks-per-child", "1")
    with worker(own_scene.environ, own_scene.folder, 1, *options) as started:
        first = {child.pid for child in started.children()}
        for number in range(2):
            own_scene.enqueue("mood", mood := world.platform.save_mood(f"{number}", world.ada))
            own_scene.wait_for_status("mood", mood, "synced")
        assert {child.pid for child in started.children()} != first
    assert index_commands(own_scene) - before == len(collections)


def index_commands(scene: Scene) -> int:
    """Return how many commands about indexes MongoDB has received."""
    database = scene.world.services.storage.database
    commands = database.command("serverStatus")["metrics"]["commands"]
    return sum(commands[name]["total"] for name in ("listIndexes", "createIndexes"))


def worker_log(fleet: Scene) -> list[str]:
    """Return what the workers have logged so far, line by line."""
    logs = fleet.folder.glob("worker-*.log")
    return [line for log in logs for line in log.read_text(errors="replace").splitlines()]


def test_poison_messages_are_refused_and_the_worker_goes_on(fleet: Scene) -> None:
    """Each with one line in the log; none ends the worker, or holds up what is behind it."""
    before, started = len(worker_log(fleet)), starts(fleet)
    with redis.Redis.from_url(fleet.environ["REDIS_URL"]) as client:
        for item, _ in POISON.values():
            client.lpush("live", item)
    published_mood(fleet, "still here")
    fleet.wait_until_drained()
    lines = [line for line in worker_log(fleet)[before:] if "refused a message on live" in line]
    assert len(lines) >= len(POISON)
    assert all("[error" in line for line in lines)
    assert not [fault for _, fault in POISON.values() if not any(fault in line for line in lines)]
    assert starts(fleet) == started


def test_messages_that_no_item_can_be_meant_by_end_in_the_task(fleet: Scene) -> None:
    """An unknown type and a malformed id fail it, where Flower and Sentry see it."""
    started, gone = starts(fleet), "6b0748a75a2f8d2ca17122c9"
    messages = [sync_media.delay("hologram" * 9, "1"), sync_media.delay("mood", "")]
    messages.append(sync_media.delay("mood", gone))
    published_mood(fleet, "here as well")
    fleet.wait_until_drained()
    log = worker_log(fleet)
    said = [[line for line in log if str(message.id) in line] for message in messages]
    assert any("[error" in line and "no media type is named" in line for line in said[0])
    assert any("[error" in line and "not the _id of a document" in line for line in said[1])
    assert any("[warning" in line and f"id={gone}" in line for line in said[2])
    assert starts(fleet) == started


def test_an_item_of_a_newer_producer_is_published_by_an_older_worker(fleet: Scene) -> None:
    """While a new version is rolled out: the message is refused, the document is there."""
    mood = fleet.world.platform.save_mood("from the future", fleet.world.ada)
    with redis.Redis.from_url(fleet.environ["REDIS_URL"]) as client:
        client.lpush("live", call("mood", str(mood), colour="red"))
        client.lpush("live", call("mood", str(mood), task="mend_media"))
    fleet.wait_for_status("mood", mood, "synced")


def starts(fleet: Scene) -> int:
    """Count how often the worker has started, or connected anew."""
    log = "\n".join(worker_log(fleet))
    return log.count(" ready.") + log.count("Connected to redis://")
