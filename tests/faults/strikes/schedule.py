"""Sweeps and clocks that do not go as planned."""

from __future__ import annotations

from tasks.upkeep import sweep
from tests.faults.stage import Stage
from worker.app import LIVE

_AT_ONCE, _ROUNDS = 4, 5


def sweep_twice(stage: Stage) -> None:
    """Run a second beat, and send sweeps several at a time."""
    stage.fleet.second_beat()
    for _ in range(_ROUNDS):
        _sweep_at_once(stage)


def _sweep_at_once(stage: Stage) -> None:
    begun = stage.fleet.logged("Task sweep[")
    for _ in range(_AT_ONCE):
        sweep.apply_async(queue=LIVE)
    stage.wait(lambda: stage.fleet.logged("Task sweep[") >= begun + _AT_ONCE, "the sweeps")


def let_run(stage: Stage) -> None:
    """Let the workers go on, whose clocks are off, until all of them have been at work."""
    before = [worker.text.count(" succeeded in ") for worker in stage.fleet.workers]
    stage.wait(
        lambda: all(
            worker.text.count(" succeeded in ") >= done + 10
            for worker, done in zip(stage.fleet.workers, before, strict=True)
        ),
        "both workers to be at work",
    )
