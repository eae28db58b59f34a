"""`media-atproto watch`: what programs save that know nothing of the queue is published.

A worker without beat: no sweep helps.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pymongo import UpdateOne

from tests.fleet import worker
from tests.pictures import pixel_art
from tests.scene import Scene, open_scene
from tests.system.watcher import at_work, await_count, await_text, publish, where
from tests.terminal import Terminal
from tests.waiting import wait_for
from tests.world import Worlds
from worker.core.clock import now

pytestmark = pytest.mark.usefixtures("watcher")


@pytest.fixture(scope="module")
def scene(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A platform with a worker."""
    folder = tmp_path_factory.mktemp("watch")
    with open_scene(worlds, folder) as opened, worker(opened.environ, folder):
        yield opened


@pytest.fixture(scope="module")
def watcher(scene: Scene) -> Iterator[Terminal]:
    """A watcher that watches."""
    with at_work(scene) as running:
        yield running


def test_what_is_saved_edited_and_nuked_is_followed(scene: Scene) -> None:
    """Each by one message: what the workers write on the documents brings no more of them.

    A message that is not accepted in time is sent again, so a worker may see a change before its
    message is counted. Each step waits for its message: changes of one batch would be one message.
    """
    world, platform = scene.world, scene.world.platform
    before = where(world).enqueued
    mood = publish(scene, "nobody enqueues this")
    await_count(world, before + 1)
    scene.wait_until_drained()
    platform.edit("mood", mood, mood="nor this")
    await_text(scene, mood, "nor this")
    await_count(world, before + 2)
    scene.wait_until_drained()
    platform.edit("mood", mood, deleted=True)
    scene.wait_for_status("mood", mood, "removed")
    assert not world.records("mood", mood)
    scene.wait_until_drained()
    await_count(world, before + 3)


def test_a_draft_is_followed_from_its_seal_on(scene: Scene) -> None:
    """What is drawn meanwhile brings no message; the seal brings one."""
    world, platform = scene.world, scene.world.platform
    before = where(world).enqueued
    painting = platform.save_painting("-", world.ada)
    platform.edit("painting", painting, slug=f"wip/{painting}", status="wip")
    scene.wait_for_status("painting", painting, "skipped")
    scene.wait_until_drained()
    drawn = where(world).enqueued
    assert before < drawn <= before + 2
    for size in range(5):
        platform.edit("painting", painting, wip={"size": size}, updatedAt=now())
    platform.store("sealed.png", pixel_art(), world.ada)
    platform.edit("painting", painting, slug="sealed", status="done", completedAt=now())
    scene.wait_for_status("painting", painting, "synced")
    scene.wait_until_drained()
    await_count(world, drawn + 1)


def test_every_type_is_followed(scene: Scene) -> None:
    """Guests' items too."""
    platform, ada = scene.world.platform, scene.world.ada
    platform.store("watched.mjs", b"export const x = 1\n", ada)
    items = {
        "painting": platform.save_painting("watched", ada),
        "mood": platform.save_mood("watched", ada),
        "piece": platform.save_piece("watched", ada),
        "kidlisp": platform.save_kidlisp("(watched)", None),
    }
    for type_name, item in items.items():
        status = "partial" if type_name == "painting" else "synced"  # its image is nowhere
        scene.wait_for_status(type_name, item, status)


def test_what_changes_no_record_is_passed_over(scene: Scene) -> None:
    """Counters, states, other collections, and other databases."""
    world = scene.world
    kidlisp = world.platform.save_kidlisp("(hits)", None)
    scene.wait_for_status("kidlisp", kidlisp, "synced")
    scene.wait_until_drained()
    before = where(world).enqueued
    database = world.services.storage.database
    database["kidlisp"].update_one({"_id": kidlisp}, {"$inc": {"hits": 1}})
    database["kidlisp"].update_one({"_id": kidlisp}, {"$set": {"atproto.retryAt": None}})
    database["kidlisp"].update_one({"_id": kidlisp}, {"$unset": {"atproto.retryAt": ""}})
    database["comments"].insert_one({"text": "hello"})
    other = database.client[f"{database.name}-other"]
    other["moods"].insert_one({"mood": "elsewhere", "user": world.ada})
    database.client.drop_database(other.name)
    publish(scene, "the last")
    await_count(world, before + 1)


def test_a_burst_of_edits_is_fewer_messages(scene: Scene) -> None:
    """And the last edit is what is published."""
    world = scene.world
    mood = publish(scene, "0")
    scene.wait_until_drained()
    before = where(world).enqueued
    edits = [UpdateOne({"_id": mood}, {"$set": {"mood": f"{n}"}}) for n in range(1, 51)]
    world.services.storage.database["moods"].bulk_write(edits)
    await_text(scene, mood, "50")
    assert before < where(world).enqueued < before + 25


def test_a_deleted_document_takes_its_record_along_where_there_are_pre_images(
    scene: Scene,
) -> None:
    """They tell whose it was; a note of the removal outlives a lost message, not a kept one."""
    world = scene.world
    database = world.services.storage.database
    kidlisp = world.platform.save_kidlisp("(gone)", world.bob)
    guests = world.platform.save_kidlisp("(gone too)", None)
    for item in (kidlisp, guests):
        scene.wait_for_status("kidlisp", item, "synced")
    database.command("collMod", "kidlisp", changeStreamPreAndPostImages={"enabled": True})
    unknown = where(world).unknown
    for nobody in ("x" * 600, 7):
        # Of a user like that there is no account, and nothing was published.
        odd: dict[str, object] = {"source": "(odd)", "user": nobody}
        database["kidlisp"].insert_one(odd)
        database["kidlisp"].delete_one({"_id": odd["_id"]})
    world.platform.delete("kidlisp", kidlisp)
    wait_for(lambda: not world.records("kidlisp", kidlisp), what="the record to be gone")
    world.platform.delete("kidlisp", guests)
    wait_for(lambda: not world.records("kidlisp", guests), what="the guest's record to be gone")
    wait_for(
        lambda: database["atproto_removals"].count_documents({}) == 0, what="the notes to be gone"
    )
    assert where(world).unknown == unknown + 2


def test_a_deletion_without_a_pre_image_is_reported(scene: Scene, watcher: Terminal) -> None:
    """Its owner is unknown; the log says what to do."""
    world = scene.world
    mood = publish(scene, "unowned")
    scene.wait_until_drained()
    unknown = where(world).unknown
    world.platform.delete("mood", mood)
    watcher.await_said(f"mood {mood} was deleted, and its owner is unknown")
    wait_for(lambda: where(world).unknown == unknown + 1, what="it to be counted")
    assert world.records("mood", mood)


def test_a_document_that_no_message_can_name_says_so(scene: Scene) -> None:
    """On itself, and holds up nothing."""
    world = scene.world
    moods = world.services.storage.database["moods"]
    moods.insert_one({"_id": {"a": 1}, "mood": "odd", "user": world.ada})
    wait_for(
        lambda: moods.find_one({"_id": {"$eq": {"a": 1}}, "atproto.status": "failed"}),
        what="the document to be given up",
    )
    publish(scene, "behind it")
