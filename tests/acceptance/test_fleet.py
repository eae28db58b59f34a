"""A save, a message, a real worker, a record: with everything real that runs in production."""

from __future__ import annotations

import redis

from tasks import delete_media, enqueue, sync_media
from tests import pictures
from tests.acceptance.conftest import Scene
from tests.waiting import wait_for
from worker.app import app
from worker.stack import Stack


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


def test_the_task_can_be_called_as_any_celery_task(fleet: Scene) -> None:
    """`sync_media.delay` is the same message."""
    mood = fleet.world.platform.save_mood("delayed", fleet.world.ada)
    sync_media.delay("mood", str(mood))
    fleet.wait_for_status("mood", mood, "synced")


def test_delete_media_removes_the_record_of_a_deleted_document(fleet: Scene) -> None:
    """For a caller that knows user and rkey."""
    mood = fleet.world.platform.save_mood("short-lived", fleet.world.ada)
    enqueue("mood", mood)
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
    mood = fleet.world.platform.save_mood("before", fleet.world.ada)
    enqueue("mood", mood)
    fleet.wait_for_status("mood", mood, "synced")
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


def test_with_the_pds_restarted_items_heal_by_themselves(fleet: Scene, stack: Stack) -> None:
    """Celery's own retry, and the sweep behind it, until PDS and document agree."""
    stack.pds.stop()
    try:
        moods = [fleet.world.platform.save_mood(f"outage {n}", fleet.world.ada) for n in range(3)]
        for mood in moods:
            enqueue("mood", mood)
            fleet.wait_for_status("mood", mood, "pending")
    finally:
        stack.pds.start()
    for mood in moods:
        fleet.wait_for_status("mood", mood, "synced")


def test_a_failure_is_on_the_document_and_in_the_log(fleet: Scene) -> None:
    """Both name the field and the reason."""
    mood = fleet.world.platform.save_mood("z" * 5001, fleet.world.ada)
    enqueue("mood", mood)
    fleet.wait_for_status("mood", mood, "failed")
    (line, *_) = wait_for(
        lambda: [line for line in worker_log(fleet) if "ItemFailed" in line and str(mood) in line],
        within=30,
        what="the failure to be in the worker's log",
    )
    assert f"mood {mood}" in line
    assert "text" in line


def worker_log(fleet: Scene) -> list[str]:
    """Return what the workers have logged so far, line by line."""
    logs = fleet.folder.glob("worker-*.log")
    return [line for log in logs for line in log.read_text(errors="replace").splitlines()]


def test_a_poison_message_is_refused_and_the_worker_goes_on(fleet: Scene) -> None:
    """Unknown types and tasks, malformed ids, arguments of the wrong shape, ids of nothing."""
    enqueue("hologram", "1")
    enqueue("mood", "")
    enqueue("mood", "ffffffffffffffffffffffff")
    app.send_task("sync_media", args=[{"$gt": ""}], queue="live")
    app.send_task("task_of_the_future", args=[1], queue="live")
    mood = fleet.world.platform.save_mood("still here", fleet.world.ada)
    enqueue("mood", mood)
    fleet.wait_for_status("mood", mood, "synced")
    fleet.wait_until_drained()
