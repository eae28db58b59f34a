"""What a worker says of settings that do not fit each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet import worker
from worker.app import BATCH_HARD_LIMIT, LONGEST_COUNTDOWN
from worker.stack import Stack

LEAST = BATCH_HARD_LIMIT + LONGEST_COUNTDOWN


@pytest.mark.parametrize(("seconds", "is_said"), [(LEAST, True), (LEAST + 1, False)])
def test_a_message_that_would_come_again_while_it_is_worked_on_is_told_of(
    stack: Stack, tmp_path: Path, bare_environ: dict[str, str], seconds: float, *, is_said: bool
) -> None:
    """When the queue waits no longer than a batch may take after the longest wait."""
    own = {"VISIBILITY_TIMEOUT_SECONDS": f"{seconds:g}"}
    environ = {**bare_environ, **stack.environment, **own}
    with worker(environ, tmp_path, 1) as process:
        said = f"VISIBILITY_TIMEOUT_SECONDS is {seconds:g}" in process.text
        assert said is is_said
