"""The messages of docs/producers.md, pushed as they stand there to a real worker."""

from __future__ import annotations

import json

import pytest
import redis
from bson import ObjectId

from tests.fleet import worker
from tests.message_samples import ITEM, LONG, SHORT
from tests.scene import open_scene
from tests.waiting import wait_for
from tests.world import Worlds
from worker.clock import now


def test_samples_are_carried_out(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> None:
    """On a Redis where nothing else is, without beat."""
    folder = tmp_path_factory.mktemp("samples")
    with (
        open_scene(worlds, folder) as scene,
        redis.Redis.from_url(scene.environ["REDIS_URL"]) as client,
    ):
        world, item = scene.world, ObjectId(ITEM)
        document = {"_id": item, "mood": "by the short one", "user": world.ada, "when": now()}
        world.services.database["moods"].insert_one(document)
        client.flushdb()
        client.lpush("live", SHORT)
        with worker(scene.environ, folder):
            scene.wait_for_status("mood", item, "synced")
            assert world.record("mood", item)["text"] == "by the short one"
            world.platform.edit("mood", item, mood="by the long one")
            client.lpush("live", LONG)
            wait_for(
                lambda: world.record("mood", item)["text"] == "by the long one",
                within=60,
                what="the long one to be carried out",
            )
            scene.wait_until_drained()
            world.platform.delete("mood", item)
            client.lpush("live", _removal(world.ada))
            wait_for(
                lambda: not world.records("mood", item), within=60, what="the record to be gone"
            )


def _removal(user: str) -> str:
    headers = {"task": "sync_media", "id": "9d64bd6c-8c0e-41f5-a5d5-b7c6e7a6a0b1"}
    return json.dumps(
        {"headers": headers, "body": json.dumps([["mood", ITEM], {"user": user}, {}])}
    )
