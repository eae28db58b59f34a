"""Workers that die, or are told to go, in the middle of their work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.stage import Stage
from tests.fleet import frozen


def kill_children(stage: Stage) -> None:
    """Kill -9 one process of each pool in the middle of a call."""
    with everyone_at_work(stage):
        for worker in stage.fleet.workers:
            worker.children()[0].kill()


def kill_worker(stage: Stage) -> None:
    """Kill -9 a whole worker in the middle of its calls; start another in its place."""
    victim = stage.fleet.workers[0]
    with everyone_at_work(stage):
        victim.kill()
    stage.fleet.replace(victim)


def warm_shutdown(stage: Stage) -> None:
    """SIGTERM: it ends what it is at, and goes; start another in its place."""
    victim = stage.fleet.workers[0]
    with everyone_at_work(stage):
        victim.popen.terminate()
    stage.wait(lambda: victim.popen.poll() is not None, "the worker to end")
    assert victim.popen.returncode == 0, f"the worker's exit code is {victim.popen.returncode}"
    stage.fleet.replace(victim)


@contextmanager
def everyone_at_work(stage: Stage) -> Iterator[None]:
    """Hold the PDS still until every process of the fleet waits for its answer."""
    with frozen(stage.stack.pds):
        children = len(stage.fleet.children())
        stage.wait(lambda: len(stage.held()) >= children, "every process to be at work")
        yield
