"""Redis rejects commands or closes connections: workers and beat wait, and then go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import pytest
from redis import Redis

from tasks import enqueue
from tests.fleet import Process, beat, frozen, running, worker
from tests.scene import Scene
from tests.system.watcher import at_work
from tests.waiting import wait_for
from tests.webpage import serving
from worker.dev.stack import Stack
from worker.queue.names import LIVE

_PATIENCE = 60.0


@dataclass(frozen=True)
class Incident:
    """How Redis is broken and repaired, and the text that workers log meanwhile."""

    start: Callable[[Redis], object]
    end: Callable[[Redis], object]
    sign: str


def put_text(name: str) -> Callable[[Redis], object]:
    """Return what makes a key a string, whatever it was."""
    return lambda client: client.set(name, "text")


def remove(name: str) -> Callable[[Redis], object]:
    """Return what deletes a key."""
    return lambda client: client.delete(name)


INCIDENTS = {
    "read-only": Incident(
        lambda client: client.replicaof("127.0.0.1", 1),
        lambda client: client.replicaof("NO", "ONE"),
        "the queue cannot be used: Redis is read-only",
    ),
    "out of memory": Incident(
        lambda client: client.config_set("maxmemory", 1),
        lambda client: client.config_set("maxmemory", 0),
        "in flight is not saved: Redis is out of memory",
    ),
    "list of wrong type": Incident(put_text(LIVE), remove(LIVE), "the queue cannot be used"),
    "unacked of wrong type": Incident(
        put_text("unacked"), remove("unacked"), "in flight is not saved"
    ),
    "connections reset": Incident(
        lambda client: client.client_kill_filter(_type="normal", skipme=True),
        lambda client: client.client_kill_filter(_type="normal", skipme=True),
        "item synced",
    ),
}


@contextmanager
def during(incident: Incident, scene: Scene) -> Iterator[None]:
    """Have Redis broken until the block ends."""
    with Redis.from_url(scene.environ["REDIS_URL"]) as client, ExitStack() as undo:
        undo.callback(incident.end, client)
        incident.start(client)
        yield


def wait_for_sign(process: Process, text: str, count: int = 1) -> None:
    """Wait until a program has logged a text."""
    wait_for(lambda: process.text.count(text) >= count, within=_PATIENCE, what=text)


@pytest.mark.parametrize("name", INCIDENTS)
def test_workers_and_beat_outlive_an_incident_of_redis(
    own_scene: Scene, own_stack: Stack, name: str
) -> None:
    """It begins while the worker is busy and more messages wait."""
    incident, world, folder = INCIDENTS[name], own_scene.world, own_scene.folder
    moods = [world.platform.save_mood(f"before {n}", world.ada) for n in range(8)]
    with ExitStack() as fleet:
        workers = fleet.enter_context(worker(own_scene.environ, folder, 1))
        beats = fleet.enter_context(beat(own_scene.environ, folder))
        with ExitStack() as meanwhile:
            with frozen(own_stack.pds):
                for mood in moods:
                    own_scene.enqueue("mood", mood)
                own_scene.wait_for_claim("mood", moods[0])
                meanwhile.enter_context(during(incident, own_scene))
            moods.append(world.platform.save_mood("meanwhile", world.ada))
            enqueue("mood", moods[-1])
            wait_for_sign(workers, incident.sign)
        for mood in moods:
            own_scene.wait_for_status("mood", mood, "synced")
        assert workers.popen.poll() is None
        assert beats.popen.poll() is None


@pytest.mark.parametrize("name", ["read-only", "out of memory"])
def test_a_worker_and_beat_that_start_during_an_incident_wait_for_its_end(
    own_scene: Scene, name: str
) -> None:
    """What was saved before is published once it has ended."""
    incident, world, folder = INCIDENTS[name], own_scene.world, own_scene.folder
    mood = world.platform.save_mood("before the workers", world.ada)
    with ExitStack() as fleet:
        with during(incident, own_scene):
            workers = fleet.enter_context(running("worker", own_scene.environ, folder, "-c", "1"))
            fleet.enter_context(beat(own_scene.environ, folder))
            wait_for_sign(workers, "the queue cannot be used", count=2)
        own_scene.wait_for_status("mood", mood, "synced")


@pytest.mark.parametrize("name", ["read-only", "out of memory"])
def test_the_page_and_watch_outlive_an_incident_of_redis(own_scene: Scene, name: str) -> None:
    """The page serves what MongoDB has; the watcher keeps its place until Redis accepts more."""
    world, folder = own_scene.world, own_scene.folder
    with serving(own_scene.environ, folder) as page, at_work(own_scene) as watcher:
        with during(INCIDENTS[name], own_scene):
            mood = world.platform.save_mood("seen by watch", world.ada)
            watcher.await_said("trying again")
            with page.client() as browser:
                assert browser.get("/").status_code == httpx.codes.OK
                assert browser.get(f"/item?type=mood&id={mood}").status_code == httpx.codes.OK
        with worker(own_scene.environ, folder):
            own_scene.wait_for_status("mood", mood, "synced")
        assert watcher.process.poll() is None
        assert page.popen.poll() is None
