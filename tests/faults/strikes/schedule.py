"""Sweeps and clocks that do not go as planned."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from tasks.periodic import sweep
from tests.faults.events import Events, task_events
from tests.faults.stage import Stage
from tests.fleet import frozen
from worker.queue.names import LIVE

_AT_ONCE, _ROUNDS = 4, 5
_TOO_LONG = 60.0  # seconds; leases are of 30


def sweep_twice(stage: Stage) -> None:
    """Run a second beat, and send sweeps several at a time."""
    stage.fleet.second_beat()
    with task_events(stage.environ["REDIS_URL"]) as events:
        for _ in range(_ROUNDS):
            sent = {str(sweep.apply_async(queue=LIVE).id) for _ in range(_AT_ONCE)}
            stage.wait(partial(_have_succeeded, sent, events), "the sweeps to succeed")


def _have_succeeded(tasks: set[str], events: Events) -> bool:
    return tasks <= {event["uuid"] for event in events if event["type"] == "task-succeeded"}


def let_run(stage: Stage) -> None:
    """Let the workers go on, whose clocks are off, until both have taken leases by them."""
    with frozen(stage.stack.pds):
        _wait_for_lease(stage, lambda left: left > _TOO_LONG, "a lease of the worker ahead")
        _wait_for_lease(stage, lambda left: left < 0, "a lease of the worker behind")


def _wait_for_lease(stage: Stage, odd: Callable[[float], bool], what: str) -> None:
    def taken() -> bool:
        ends = [lease["until"] for lease in stage.held()]
        return any(odd((end - datetime.now(UTC)).total_seconds()) for end in ends)

    stage.wait(taken, what)
