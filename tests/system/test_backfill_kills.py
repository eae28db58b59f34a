"""A backfill whose services and workers die in the middle: all is published in the end, once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.bulk import (
    KINDS,
    assert_agreement,
    error_of,
    new_user,
    put_foreign,
    save_moods,
    save_one_of,
    set_password,
    start_over,
)
from tests.fleet import worker
from tests.scene import SHORT_VISIBILITY, Scene, open_scene
from tests.terminal import Terminal, call, has_no_findings, run, started
from tests.waiting import wait_for
from tests.world import World, Worlds
from worker.dev.stack import Stack


@pytest.fixture(scope="module")
def opened(own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A platform and a queue of this module's own."""
    with open_scene(own_worlds, tmp_path_factory.mktemp("kills"), **SHORT_VISIBILITY) as scene:
        yield scene


@pytest.fixture
def scene(opened: Scene) -> Scene:
    """The same, with items of every type of ada, bob and guests, one of three bad.

    In every account there are records already, written by another program.
    """
    world = opened.world
    start_over(world)
    for kind in KINDS:
        for user in (world.ada, world.bob, None):
            items = [save_one_of(world, kind.name, user) for _ in range(12)]
            for item in items[::3]:
                world.platform.edit(kind.name, item, when="yesterday")
            if user or kind.guests:
                subject = user or "art-guest"
                put_foreign(world, subject, kind.name, f"3a{kind.name}", ref=str(items[1]))
    return opened


@contextmanager
def backfill_at_work(scene: Scene, own_stack: Stack, folder: Path) -> Iterator[Terminal]:
    """Run a backfill, and stop the PDS in its tracks in the middle of it."""
    with started(["backfill", "--wait"], scene.environ, folder) as terminal:
        wait_for(lambda: is_at_work(scene, terminal), what="a first batch")
        own_stack.pds.freeze()
        wait_for(lambda: in_hand(scene), what="batches in a worker's hands")
        yield terminal


def is_at_work(scene: Scene, terminal: Terminal) -> bool:
    """Tell whether a backfill has published something; it has not ended yet."""
    assert terminal.process.poll() is None, terminal.stderr
    return statuses(scene.world)["synced"] > 0


def in_hand(scene: Scene) -> int:
    """Return how many messages workers have taken and not done."""
    with redis.Redis.from_url(scene.environ["REDIS_URL"]) as client:
        return int(client.hlen("unacked"))


def statuses(world: World) -> Counter[object]:
    """Count all items by status."""
    every = (world.platform.states(kind.name).values() for kind in KINDS)
    return Counter(state.get("status") for states in every for state in states)


def wait_until_published(scene: Scene, pending: int = 0) -> None:
    """Wait until all items are that can be: of 144, twelve are guests' moods, 44 others bad."""
    expected = +Counter({"synced": 88, "failed": 44, None: 12, "pending": pending})
    wait_for(lambda: statuses(scene.world) == expected, what="all items to be published")
    scene.wait_until_drained()


def assert_all_is_well(scene: Scene) -> None:
    """Assert that nothing was lost or doubled, that an audit agrees, and nothing is left to do."""
    assert_agreement(scene.world)
    audit = call(scene.world, "audit", "--json")
    assert has_no_findings(audit.stdout), audit.output
    again = call(scene.world, "backfill", "--wait")
    assert again.exit_code == 0
    assert again.stdout.splitlines()[0] == "0 items of 0 accounts to publish"


def test_a_pds_and_processes_that_are_killed(
    scene: Scene, own_stack: Stack, tmp_path: Path
) -> None:
    """The backfill that is waited for goes on by itself: what was in hand comes again.

    An account with a wrong password keeps nobody waiting; corrected, it is served as well.
    """
    world = scene.world
    lost = new_user(world)
    moods = save_moods(world, 12, lost)
    password = set_password(world, lost, "wrong")
    with worker(scene.environ, scene.folder) as process:
        with backfill_at_work(scene, own_stack, tmp_path) as terminal:
            for child in process.children():
                child.kill()
            own_stack.pds.kill()
            own_stack.pds.start()
            assert terminal.exit_code() == 1  # for what is bad
            # A batch that is delivered again counts its items again: the numbers may be higher.
            assert re.search(r"mood +wrong_password +\d", terminal.stdout)
        wait_until_published(scene, pending=12)
        assert {error_of(world, "mood", mood)[2] for mood in moods} == {"wrong_password"}
        set_password(world, lost, password)
        code, output, error = run(["backfill", "--wait"], scene.environ)
        assert code == 0, output + error
    assert {world.platform.state("mood", mood)["status"] for mood in moods} == {"synced"}
    assert_all_is_well(scene)


def test_a_whole_worker_that_is_killed(scene: Scene, own_stack: Stack, tmp_path: Path) -> None:
    """So is the backfill that waits: another one, with another worker, picks up what is left."""
    with worker(scene.environ, scene.folder) as process:
        with backfill_at_work(scene, own_stack, tmp_path) as terminal:
            process.kill()
            terminal.press_ctrl_c()
            assert terminal.exit_code() == 130
        own_stack.pds.thaw()
    with worker(scene.environ, scene.folder):
        assert run(["backfill", "--wait"], scene.environ)[0] in {0, 1, 3}
        wait_until_published(scene)
    assert_all_is_well(scene)


def test_a_redis_that_is_restarted(scene: Scene, own_stack: Stack, tmp_path: Path) -> None:
    """Neither the worker nor who waits is lost."""
    with worker(scene.environ, scene.folder) as process:
        with backfill_at_work(scene, own_stack, tmp_path) as terminal:
            own_stack.valkey.stop()
            own_stack.pds.thaw()
            own_stack.valkey.start()
            assert terminal.exit_code() == 1  # for what is bad
            assert "Error" not in terminal.stderr
        wait_until_published(scene)
        assert process.popen.poll() is None
    assert_all_is_well(scene)
