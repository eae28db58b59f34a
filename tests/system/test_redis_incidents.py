"""Redis rejects commands or connections: every program waits, and continues when it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from kombu import Connection
from redis import Redis

from tasks.sync import delete_media
from tests.fleet import beat, frozen, running, worker
from tests.redis_incidents import INCIDENTS, break_at_work, during, wait_for_sign
from tests.scene import SHORT_VISIBILITY, Scene, open_scene
from tests.system.watcher import at_work, watching
from tests.waiting import wait_for
from tests.webpage import serving
from tests.world import Worlds
from worker.dev.stack import Service, Stack

_REFUSED = "reject requeue="


@pytest.fixture
def scene(own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Open a platform whose messages are delivered again soon."""
    with open_scene(own_worlds, tmp_path_factory.mktemp("redis"), **SHORT_VISIBILITY) as opened:
        yield opened


@pytest.mark.parametrize("name", sorted(INCIDENTS.keys() - {"read-only"}))
def test_workers_and_beat_outlive_an_incident(
    own_scene: Scene, own_stack: Stack, name: str
) -> None:
    """It begins while the worker is busy and more messages wait."""
    with ExitStack() as fleet:
        workers = fleet.enter_context(worker(own_scene.environ, own_scene.folder, 1))
        beats = fleet.enter_context(beat(own_scene.environ, own_scene.folder))
        for mood in break_at_work(own_scene, own_stack, INCIDENTS[name], workers):
            own_scene.wait_for_status("mood", mood, "synced")
        assert workers.popen.poll() is None
        assert beats.popen.poll() is None


@pytest.mark.parametrize("name", ["read-only", "out of memory"])
def test_all_programs_that_start_during_an_incident_wait_for_its_end(
    own_scene: Scene, name: str
) -> None:
    """What was saved before is published once it has ended; the page shows what MongoDB has."""
    incident, environ, folder = INCIDENTS[name], own_scene.environ, own_scene.folder
    mood = own_scene.world.platform.save_mood("before the workers", own_scene.world.ada)
    with ExitStack() as fleet:
        with during(incident, environ["REDIS_URL"]):
            workers = fleet.enter_context(running("worker", environ, folder, "-c", "1"))
            beats = fleet.enter_context(beat(environ, folder))
            page = fleet.enter_context(serving(environ, folder))
            watcher = fleet.enter_context(watching(environ, folder))
            wait_for_sign(workers, incident.sign)
            wait_for_sign(beats, "was not enqueued")
            watcher.await_said("watching ")
            with page.client() as browser:
                assert browser.get("/").status_code == httpx.codes.OK
        own_scene.wait_for_status("mood", mood, "synced")
        for program in (workers.popen, beats.popen, page.popen, watcher.process):
            assert program.poll() is None


@pytest.mark.parametrize("name", ["read-only", "out of memory"])
def test_the_page_and_watch_outlive_an_incident(own_scene: Scene, name: str) -> None:
    """The page serves what MongoDB has; the watcher keeps its place until Redis accepts more."""
    world, folder = own_scene.world, own_scene.folder
    with serving(own_scene.environ, folder) as page, at_work(own_scene) as watcher:
        with during(INCIDENTS[name], own_scene.environ["REDIS_URL"]):
            mood = world.platform.save_mood("seen by watch", world.ada)
            watcher.await_said("trying again")
            with page.client() as browser:
                assert browser.get("/").status_code == httpx.codes.OK
                assert browser.get(f"/item?type=mood&id={mood}").status_code == httpx.codes.OK
        with worker(own_scene.environ, folder):
            own_scene.wait_for_status("mood", mood, "synced")
        assert watcher.process.poll() is None
        assert page.popen.poll() is None


def test_a_message_whose_retry_redis_refuses_is_delivered_again(
    scene: Scene, own_stack: Stack
) -> None:
    """No sweep runs, so the message of an item, a batch or a removal is all that starts it."""
    world, url, pds = scene.world, scene.environ["REDIS_URL"], own_stack.pds
    gone = world.publish_mood("gone")
    rkey = str(world.platform.state("mood", gone)["rkey"])
    world.platform.delete("mood", gone)
    mood = world.platform.save_mood("alone", world.ada)
    with worker(scene.environ, scene.folder, 3) as workers, Redis.from_url(url) as client:
        with frozen(pds):
            scene.enqueue("mood", mood)
            batch = scene.enqueue_batch(world.bob, 3)
            with Connection(url) as connection:
                delete_media.apply_async(("mood", world.ada, rkey), connection=connection)
            wait_for(lambda: client.hlen("unacked") == 3, what="all messages to be in flight")
            with during(INCIDENTS["out of memory"], url), killed(pds):
                wait_for_sign(workers, _REFUSED, 3)
        for item in (mood, *batch):
            scene.wait_for_status("mood", item, "synced")
        wait_for(lambda: not world.records("mood", gone), what="the record to be removed")


@contextmanager
def killed(service: Service) -> Iterator[None]:
    """Have a service killed until the block ends."""
    service.kill()
    try:
        yield
    finally:
        service.start()
