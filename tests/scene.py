"""A platform whose items real worker processes publish."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from bson import ObjectId
from kombu import Connection

from tasks.sync import sync_batch, sync_media
from tests.bulk import save_moods
from tests.waiting import wait_for
from tests.world import World, Worlds
from worker.app import app
from worker.queue.names import BULK, FRONT, LIVE, OVERFLOW, SWEEP, redis_list

TIMES = {
    "RETRY_BASE_SECONDS": "0.5",
    "RETRY_CEILING_SECONDS": "2",
    "SWEEP_INTERVAL_SECONDS": "1",
    "SWEEP_GRACE_SECONDS": "1",
    "SWEEP_REQUEUE_SECONDS": "5",
}
# For tests that kill workers: their messages are delivered again soon. Anywhere else a message
# that takes longer on a slow machine would be delivered twice.
SHORT_VISIBILITY = {"VISIBILITY_TIMEOUT_SECONDS": "5"}
_PATIENCE = 60.0
LISTS = [
    redis_list(queue, priority) for queue in (LIVE, SWEEP, BULK) for priority in (FRONT, OVERFLOW)
]


@dataclass(frozen=True)
class Scene:
    """The platform, and what its workers' environment is."""

    world: World
    environ: dict[str, str]
    folder: Path

    def enqueue(self, type_name: str, item: ObjectId, queue: str = LIVE) -> None:
        """Send an item's message to this scene's queue."""
        with Connection(self.environ["REDIS_URL"]) as connection:
            sync_media.apply_async((type_name, str(item)), connection=connection, queue=queue)

    def enqueue_batch(self, subject: str, number: int) -> list[ObjectId]:
        """Save moods of a user, and send one message for all of them."""
        moods = save_moods(self.world, number, subject)
        self.send_batch(subject, moods)
        return moods

    def send_batch(
        self, subject: str, moods: Sequence[ObjectId], backfill: str | None = None
    ) -> None:
        """Send one message for all these moods of a user."""
        args = ("mood", subject, [str(mood) for mood in moods], backfill)
        with Connection(self.environ["REDIS_URL"]) as connection:
            sync_batch.apply_async(args, connection=connection, queue=BULK)

    def wait_for_status(self, type_name: str, item: ObjectId, status: str) -> None:
        """Wait until a document says that it is in a state."""
        wait_for(
            lambda: self.world.platform.state(type_name, item).get("status") == status,
            within=_PATIENCE,
            what=f"{type_name} {item} to be {status}",
        )

    def wait_for_claim(self, type_name: str, item: ObjectId) -> None:
        """Wait until a worker is at work on an item."""
        wait_for(
            lambda: "lease" in self.world.platform.state(type_name, item),
            within=_PATIENCE,
            what=f"{type_name} {item} to be claimed",
        )

    def wait_until_drained(self) -> None:
        """Wait until no message waits and none is in a worker's hands."""
        with redis.Redis.from_url(self.environ["REDIS_URL"]) as client:
            wait_for(lambda: _is_drained(client), within=_PATIENCE, what="the queue to drain")


@contextmanager
def open_scene(worlds: Worlds, folder: Path, **environ: str) -> Iterator[Scene]:
    """Open a platform with a queue of its own, and point this process's producers at it.

    It has the queue that REDIS_URL names, or else a new one.
    """
    open_world = worlds.open if "REDIS_URL" in environ else worlds.open_with_redis
    with ExitStack() as undo:
        world = undo.enter_context(open_world(**{**TIMES, **environ}))
        env = undo.enter_context(pytest.MonkeyPatch.context())
        undo.callback(_forget_queue)
        env.setenv("REDIS_URL", world.environ["REDIS_URL"])
        _forget_queue()
        yield Scene(world, {**os.environ, **world.environ}, folder)


def _forget_queue() -> None:
    """Close Celery's connections, so that the next message goes to the queue that REDIS_URL names.

    Celery reads the address once. Messages would go on to the queue of the previous scene, and the
    sweep would hide that.
    """
    app._after_fork()  # type: ignore[attr-defined]


def _is_drained(client: redis.Redis) -> bool:
    waiting = sum(client.llen(name) for name in LISTS)
    return not waiting and not client.hlen("unacked")
