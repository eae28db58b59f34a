"""What a save costs: each write to MongoDB waits for a majority of its members and their disks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from bson import ObjectId

from tests.world import World
from worker.core.documents import Status


@contextmanager
def commands_of(world: World) -> Iterator[Counter[str]]:
    """Count the commands that the world's database is sent within the block."""
    database, sent = world.services.storage.database, Counter[str]()
    database.command("profile", 2)
    try:
        yield sent
    finally:
        database.command("profile", 0)
    sent.update(
        next(iter(entry["command"])) if entry["op"] == "command" else str(entry["op"])  # type: ignore[call-overload]
        for entry in database["system.profile"].find({"op": {"$ne": "insert"}})
    )
    database.drop_collection("system.profile")


def sync(world: World, item: ObjectId) -> Counter[str]:
    """Sync a mood; return the commands."""
    with commands_of(world) as sent:
        assert world.sync("mood", item).status is Status.SYNCED
    del sent["profile"]
    return sent


def test_a_new_item_takes_two_writes(world: World) -> None:
    """Its claim reserves its record key, and its state is saved at the end."""
    world.publish_mood("the first one logs in, and adopts the records in the repo")
    sent = sync(world, world.platform.save_mood("calm", world.ada))
    assert sent == {"query": 3, "update": 1, "findAndModify": 1}


def test_an_edited_item_takes_two_writes(world: World) -> None:
    """Its record key is reserved."""
    item = world.publish_mood("calm")
    world.platform.edit("mood", item, mood="excited")
    assert sync(world, item) == {"query": 3, "update": 1, "findAndModify": 1}
