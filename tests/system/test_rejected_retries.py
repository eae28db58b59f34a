"""A retry that Redis does not accept: the message that was processed stays in Redis."""

from __future__ import annotations

import redis

from tests.fleet import frozen, worker
from tests.scene import LISTS, Scene
from tests.waiting import wait_for
from worker.dev.stack import Stack


def test_a_message_whose_retry_is_not_accepted_stays_in_redis(
    own_scene: Scene, own_stack: Stack
) -> None:
    """Redis is out of memory, so sessions cannot be saved, and no message can be added."""
    ada = own_scene.world.ada
    with (
        redis.Redis.from_url(own_scene.environ["REDIS_URL"]) as client,
        worker(own_scene.environ, own_scene.folder, 1) as process,
    ):
        try:
            with frozen(own_stack.pds):
                (mood,) = own_scene.enqueue_batch(ada, 1)
                wait_for(lambda: client.hlen("unacked") == 1, what="the batch to be taken")
                client.config_set("maxmemory", 1)
            own_scene.wait_for_status("mood", mood, "pending")
            process.stop()
            assert client.hlen("unacked") + sum(client.llen(name) for name in LISTS) == 1
        finally:
            client.config_set("maxmemory", 0)
