"""How many retries a process leaves to the memory of workers."""

from __future__ import annotations

from worker.queue.depth import RetryLimit


def test_no_more_retries_fit_until_one_is_due() -> None:
    """Each process counts its own: neither other workers nor running tasks use it up."""
    limit = RetryLimit()
    for _ in range(100):
        assert limit.has_capacity()
        limit.add(30)
    assert not limit.has_capacity()
    assert RetryLimit().has_capacity()


def test_a_retry_that_is_due_is_not_counted() -> None:
    """Its message is queued again or being processed."""
    limit = RetryLimit()
    for _ in range(1000):
        limit.add(0)
    assert limit.has_capacity()
