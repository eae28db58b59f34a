"""Processes die at work: the item is finished all the same, and published once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bson import ObjectId

from tests import pictures
from tests.fleet import beat, running, worker
from tests.scene import SHORT_VISIBILITY, Scene, open_scene
from tests.world import Worlds
from worker.dev.stack import Stack


@pytest.fixture
def scene(own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Open a platform whose workers the test starts and ends."""
    with open_scene(own_worlds, tmp_path_factory.mktemp("kills"), **SHORT_VISIBILITY) as opened:
        yield opened


def test_an_item_outlives_the_process_that_published_it(scene: Scene, own_stack: Stack) -> None:
    """Kill -9 of the pool's processes in the middle of a write: the message comes again."""
    with worker(scene.environ, scene.folder) as first:
        with painting_at_work(scene, own_stack) as painting:
            for child in first.children():
                child.kill()
        scene.wait_for_status("painting", painting, "synced")
    assert len(scene.world.records("painting", painting)) == 1


def test_an_item_outlives_its_whole_worker(scene: Scene, own_stack: Stack) -> None:
    """Kill -9 of worker and children: the next worker gets what they held."""
    with (
        worker(scene.environ, scene.folder) as first,
        painting_at_work(scene, own_stack) as painting,
    ):
        first.kill()
    with worker(scene.environ, scene.folder), beat(scene.environ, scene.folder):
        scene.wait_for_status("painting", painting, "synced")
    assert len(scene.world.records("painting", painting)) == 1


@contextmanager
def painting_at_work(scene: Scene, own_stack: Stack) -> Iterator[ObjectId]:
    """Hold the PDS still while a worker publishes a painting."""
    scene.world.platform.store("killed.png", pictures.pixel_art(), scene.world.ada)
    painting = scene.world.platform.save_painting("killed", scene.world.ada)
    own_stack.pds.freeze()
    try:
        scene.enqueue("painting", painting)
        scene.wait_for_claim("painting", painting)
        yield painting
    finally:
        own_stack.pds.thaw()


def test_a_stopped_worker_ends_what_it_is_at(scene: Scene) -> None:
    """SIGTERM: the tasks in hand are finished, and the program ends in order."""
    moods = [scene.world.platform.save_mood(f"last {n}", scene.world.ada) for n in range(10)]
    with worker(scene.environ, scene.folder) as first:
        for mood in moods:
            scene.enqueue("mood", mood)
        scene.wait_for_status("mood", moods[0], "synced")
        assert first.stop() == 0
    states = [scene.world.platform.state("mood", mood) for mood in moods]
    assert not any("lease" in state for state in states)
    with worker(scene.environ, scene.folder):
        for mood in moods:
            scene.wait_for_status("mood", mood, "synced")


def test_a_worker_that_lost_redis_takes_up_work_when_it_is_back(
    scene: Scene, own_stack: Stack
) -> None:
    """Redis restarted under a running worker: no crash, no item lost."""
    with worker(scene.environ, scene.folder) as first, beat(scene.environ, scene.folder):
        mood = scene.world.platform.save_mood("before the restart", scene.world.ada)
        scene.enqueue("mood", mood)
        scene.wait_for_status("mood", mood, "synced")
        own_stack.valkey.stop()
        lost = scene.world.platform.save_mood("saved meanwhile", scene.world.ada)
        own_stack.valkey.start()
        scene.wait_for_status("mood", lost, "synced")
        assert first.popen.poll() is None


def test_a_worker_refuses_to_start_in_an_incomplete_environment(
    own_stack: Stack, bare_environ: dict[str, str], tmp_path: Path
) -> None:
    """It names the variable and what is wrong with it, and ends."""
    wrong = {"MONGODB_NAME": "media", "PDS_URL": "ftp://pds", "SECRET_KEYS": ""}
    with running("worker", {**bare_environ, **own_stack.environment, **wrong}, tmp_path) as refused:
        assert refused.popen.wait(timeout=60) == 1
    assert "PDS_URL must start with https://" in refused.text
    assert "SECRET_KEYS is missing" in refused.text
