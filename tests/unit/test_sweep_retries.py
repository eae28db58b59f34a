"""The retries of a sweep that fails, for example because MongoDB is unavailable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.periodic import sweep
from worker.database.mongo import StoreUnavailableError


@pytest.fixture
def _eighth_retry() -> Iterator[None]:
    sweep.push_request(id="message", retries=8, called_directly=False, args=(), kwargs={})
    yield
    sweep.pop_request()


@pytest.mark.usefixtures("_eighth_retry")
def test_a_sweep_that_keeps_failing_ends_and_does_not_add_to_those_of_beat() -> None:
    """Not sent again: the error of the task is raised."""
    with pytest.raises(StoreUnavailableError):
        sweep.retry(exc=StoreUnavailableError("MongoDB does not respond"), countdown=1)
