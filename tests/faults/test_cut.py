"""A shorter cut of `make faults`: what matters most, with less to save."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.performance import Fault, perform
from tests.faults.stage import Stage, open_stage
from tests.faults.stream import Load
from tests.faults.strikes import redis
from tests.faults.strikes.workers import everyone_at_work
from worker.dev.stack import Stack

_LITTLE = Load(burst=60, steady=50, per_second=25)


def kill_both(stage: Stage) -> None:
    """Kill -9 a whole worker and the PDS in the middle of calls; start both when items fail."""
    victim = stage.fleet.workers[0]
    with everyone_at_work(stage):
        victim.kill()
        stage.stack.pds.kill()
    stage.wait_for_code("pds_")
    stage.stack.pds.start()
    stage.fleet.replace(victim)


@pytest.fixture(scope="module")
def stage(own_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage whose dead workers' messages are delivered again soon."""
    folder = tmp_path_factory.mktemp("faults")
    with open_stage(own_stack, folder, VISIBILITY_TIMEOUT_SECONDS="15") as opened:
        yield opened


@pytest.mark.parametrize(
    "fault",
    [
        Fault("worker and PDS killed", "kill -9 of both", kill_both, kills_pds=True),
        Fault("Redis emptied", "kill -9, its files deleted", redis.lose_everything),
    ],
    ids=lambda fault: fault.name,
)
def test_nothing_is_lost_doubled_or_stuck(stage: Stage, fault: Fault) -> None:
    """A stream of saves, edits and nukes is struck; all is right again by itself."""
    result = perform(stage, fault, _LITTLE)
    assert not result.complaints
    assert result.in_flight > 0
