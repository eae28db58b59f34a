"""More is waiting than can be done: who comes first, and what a worker keeps in its hands."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
import redis
from bson import ObjectId

from tasks import enqueue
from tests.fleet import worker
from tests.messages import batch, call, fill
from tests.scene import LISTS, Scene, open_scene
from tests.waiting import wait_for
from tests.world import Worlds
from worker.app import app
from worker.core.clock import now
from worker.dev.stack import Stack
from worker.queue.names import BULK, LIVE, OVERFLOW, SWEEP, redis_list

_MANY = 50_000
_FLOOD = 80
_RETRY = "item pending"


@pytest.fixture(scope="module")
def scene(own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Open a platform with a worker of one process."""
    folder = tmp_path_factory.mktemp("overload")
    with open_scene(own_worlds, folder) as opened, worker(opened.environ, folder, concurrency=1):
        yield opened


@pytest.fixture
def client(scene: Scene) -> Iterator[redis.Redis]:
    """A client of the queue, which is empty before and after."""
    with redis.Redis.from_url(scene.environ["REDIS_URL"]) as opened:
        yield opened
        opened.delete(*LISTS)
        scene.wait_until_drained()


def save(scene: Scene, user: str, number: int, **state: object) -> list[ObjectId]:
    """Save so many moods at once."""
    told = {"when": now(), "user": user} | ({"atproto": state} if state else {})
    moods = [{"mood": f"{n}", **told} for n in range(number)]
    return scene.world.services.storage.database["moods"].insert_many(moods).inserted_ids


def wait_until_done(scene: Scene, items: list[ObjectId]) -> None:
    """Wait until all items are published."""
    unfinished = {"_id": {"$in": items}, "atproto.status": {"$ne": "synced"}}
    moods = scene.world.services.storage.database["moods"]
    wait_for(lambda: not moods.find_one(unfinished), what="all to be published")


def done_before(scene: Scene, others: list[ObjectId], item: ObjectId) -> int:
    """Wait until an item is published; return how many of others were by then."""
    scene.wait_for_status("mood", item, "synced")
    published = scene.world.platform.state("mood", item)["syncedAt"]
    match = {"_id": {"$in": others}, "atproto.syncedAt": {"$lte": published}}
    return scene.world.services.storage.database["moods"].count_documents(match)


def test_a_save_goes_before_fifty_thousand_messages(scene: Scene, client: redis.Redis) -> None:
    """On each of the other queues of the same worker; hardly any of them are touched meanwhile."""
    for queue in (SWEEP, BULK):
        fill(client, queue, [call("mood", str(ObjectId()))] * _MANY)
    (mood,) = save(scene, scene.world.bob, 1)
    assert enqueue("mood", mood)
    scene.wait_for_status("mood", mood, "synced")
    assert client.llen(SWEEP) + client.llen(BULK) > 2 * _MANY - 500


def test_a_save_does_not_wait_for_all_that_another_has_saved(
    scene: Scene, client: redis.Redis
) -> None:
    """It comes after the first of theirs; and nothing is lost."""
    flood, (mood,) = save(scene, scene.world.ada, _FLOOD), save(scene, scene.world.bob, 1)
    fill(client, LIVE, [call("mood", str(each)) for each in (*flood, mood)])
    assert done_before(scene, flood, mood) < _FLOOD // 2
    wait_until_done(scene, flood)


def test_a_batch_does_not_wait_for_all_of_anothers_batches(
    scene: Scene, client: redis.Redis
) -> None:
    """However they were enqueued."""
    flood, (mood,) = save(scene, scene.world.ada, 60), save(scene, scene.world.bob, 1)
    ids = [str(each) for each in flood]
    batches = [batch("mood", scene.world.ada, *ids[n : n + 5]) for n in range(0, 60, 5)]
    fill(client, BULK, [*batches, batch("mood", scene.world.bob, str(mood))])
    assert done_before(scene, flood, mood) <= 30
    wait_until_done(scene, flood)


def test_what_a_sweep_finds_does_not_wait_for_all_of_anothers(
    scene: Scene, client: redis.Redis
) -> None:
    """Though theirs has been due for longer."""
    flood = save(scene, scene.world.ada, 40, status="pending", retryAt=now())
    (mood,) = save(scene, scene.world.bob, 1, status="pending", retryAt=now())
    app.send_task("sweep", queue=LIVE)
    assert done_before(scene, flood, mood) <= 20
    wait_for(lambda: not client.llen(SWEEP), what="the first of theirs to be done")
    assert client.llen(redis_list(SWEEP, OVERFLOW)) > 10


def test_what_fails_again_and_again_leaves_no_memory_behind(scene: Scene, own_stack: Stack) -> None:
    """Of each failure Celery keeps tracebacks in cycles, a third of a megabyte."""
    (first,) = save(scene, scene.world.bob, 1)
    enqueue("mood", first)
    scene.wait_for_status("mood", first, "synced")
    (child,) = children(scene)
    before, failed = child.memory_info().rss, log(scene).count(_RETRY)
    own_stack.pds.stop()
    try:
        for mood in save(scene, scene.world.bob, 60):
            enqueue("mood", mood)
        wait_for(lambda: log(scene).count(_RETRY) > failed + 100, what="100 failures")
        assert child.memory_info().rss < before + 20 * 2**20
    finally:
        own_stack.pds.start()


def children(scene: Scene) -> list[psutil.Process]:
    """Return the pool's processes, whose environment is the scene's."""
    mine = psutil.Process().children(recursive=True)
    url = scene.environ["REDIS_URL"]
    workers = [process for process in mine if process.environ().get("REDIS_URL") == url]
    return [process for process in workers if process.parent() in workers]


def log(scene: Scene) -> str:
    """Return what the worker has logged so far."""
    (file,) = scene.folder.glob("worker-*.log")
    return file.read_text(errors="replace")
