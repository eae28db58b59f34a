"""An image that takes longer than a task may: it ends a process of the pool, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bson import ObjectId

from tests import pictures
from tests.fleet import Process, beat, worker
from tests.scene import SHORT_VISIBILITY, Scene, open_scene
from tests.system.watcher import publish
from tests.waiting import wait_for
from tests.world import Worlds
from worker.core.clock import now
from worker.database.mongo import RawDocument
from worker.database.state import parse_state


@pytest.fixture
def scene(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Open a platform without a worker."""
    with open_scene(worlds, tmp_path_factory.mktemp("slow"), **SHORT_VISIBILITY) as opened:
        yield opened


def test_an_image_that_takes_too_long_is_given_up_and_the_worker_goes_on(scene: Scene) -> None:
    """Run after run is killed in a decoder that hears no signal; then nobody tries again."""
    platform = scene.world.platform
    platform.store("slow.png", pictures.many_scans(50, (4096, 4096)), scene.world.ada)
    slow = platform.save_painting("slow", scene.world.ada)
    # The limits of the configuration: those of Celery's own options do not change a task's.
    limits = ("--", "task.soft_time_limit=1.8", "task.time_limit=2")
    with (
        worker(scene.environ, scene.folder, 1, *limits) as process,
        beat(scene.environ, scene.folder),
    ):
        for number in range(1, scene.world.services.settings.retry.max_lost + 1):
            hold_run(scene, process, slow, number)
            let_lease_end(scene, slow)
        scene.wait_for_status("painting", slow, "failed")
        publish(scene, "meanwhile")
        assert process.popen.poll() is None
    state = platform.state("painting", slow)
    assert state["error"]["code"] == "worker_lost"  # type: ignore[index]
    assert "retryAt" not in state
    assert scene.world.records("painting", slow) == []


def hold_run(scene: Scene, worker: Process, item: ObjectId, number: int) -> None:
    """Have an item's n-th run never come back from where it is, until it is killed for that."""
    wait_for(
        lambda: is_run(scene.world.platform.state("painting", item), number),
        what=f"run number {number}",
    )
    (child,) = worker.children()
    child.suspend()
    wait_for(
        lambda: worker.text.count("Hard time limit (") >= number,
        what=f"process number {number} to be killed",
    )


def is_run(state: RawDocument, number: int) -> bool:
    """Tell whether an item's n-th run is at work: after so many that died."""
    lease = parse_state(state).lease
    return lease is not None and lease.until > now() and state.get("lost", 0) == number - 1


def let_lease_end(scene: Scene, item: ObjectId) -> None:
    """Have the time go by for which a dead run holds its document: 100 seconds."""
    assert scene.world.platform.state("painting", item)["lease"]
    over = dict.fromkeys(("atproto.lease.until", "atproto.retryAt"), now())
    scene.world.platform.edit("painting", item, **over)
