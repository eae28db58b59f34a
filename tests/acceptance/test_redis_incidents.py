"""Redis is read-only: workers and beat wait, and then continue."""

from __future__ import annotations

from contextlib import ExitStack

from tests.environments import changed
from tests.fleet import beat, worker
from tests.redis_incidents import INCIDENTS, break_at_work
from tests.scene import Scene
from tests.sentry_server import sentry_server
from worker.dev.stack import Stack


def test_workers_and_beat_outlive_a_redis_that_is_read_only(
    own_scene: Scene, own_stack: Stack
) -> None:
    """No process is replaced, and Sentry gets one event."""
    with ExitStack() as fleet:
        sentry = fleet.enter_context(sentry_server())
        environ = changed(own_scene.environ, {"SENTRY_DSN": sentry.dsn})
        workers = fleet.enter_context(worker(environ, own_scene.folder, 1))
        beats = fleet.enter_context(beat(own_scene.environ, own_scene.folder))
        before = {child.pid for child in workers.children()}
        for mood in break_at_work(own_scene, own_stack, INCIDENTS["read-only"], workers):
            own_scene.wait_for_status("mood", mood, "synced")
        assert workers.popen.poll() is None
        assert beats.popen.poll() is None
        assert {child.pid for child in workers.children()} == before
        assert [event.group for event in sentry.events] == [("queue", "redis_unavailable")]
