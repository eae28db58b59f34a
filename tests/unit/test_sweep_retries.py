"""The retries of a sweep that fails, for example because MongoDB is unavailable."""

from __future__ import annotations

import pytest

from tasks.periodic import sweep
from worker.database.mongo import StoreUnavailableError


def test_a_sweep_that_keeps_failing_ends_and_does_not_add_to_those_of_beat() -> None:
    error = StoreUnavailableError("MongoDB does not respond")
    sweep.push_request(id="message", retries=8, called_directly=False, args=(), kwargs={})
    try:
        with pytest.raises(StoreUnavailableError):
            sweep.retry(exc=error, countdown=1)
    finally:
        sweep.pop_request()
