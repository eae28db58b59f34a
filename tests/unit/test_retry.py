"""The retry table: what each class of failure does to an item's state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from worker.core.documents import Failure, Status, SyncState
from worker.core.errors import (
    AccountError,
    LockHeldError,
    PermanentError,
    TransientError,
    UnexpectedError,
    WaitError,
)
from worker.core.settings import RetrySettings
from worker.sync.retry import (
    MAX_UNEXPECTED_ATTEMPTS,
    after_failure,
    backoff,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SETTINGS = RetrySettings(
    max_attempts=24, max_lost=3, base=2, ceiling=3600, lease=100, repo_lock=10, parked=900
)
STATE = SyncState(status=Status.SYNCED, attempts=3, rkey="3abc", cid="bafy")


def test_a_transient_error_is_tried_again_within_its_backoff() -> None:
    """The third failure waits at most eight seconds; the item keeps what is published."""
    after = after_failure(STATE, TransientError("down", code="pds_503"), SETTINGS, NOW)
    assert after.status is Status.PENDING
    assert after.retry_at is not None
    assert NOW <= after.retry_at <= NOW + timedelta(seconds=8)
    assert (after.attempts, after.rkey, after.cid) == (3, "3abc", "bafy")


def test_the_last_attempt_gives_up_and_keeps_the_reason() -> None:
    """After max_attempts the item is failed, and nothing enqueues it again."""
    state = STATE._replace(attempts=SETTINGS.max_attempts)
    after = after_failure(state, TransientError("down", code="pds_503"), SETTINGS, NOW)
    assert (after.status, after.retry_at) == (Status.FAILED, None)
    assert after.error is not None
    assert after.error.code == "pds_503"


@pytest.mark.parametrize(
    "error",
    [
        WaitError("slow down", until=NOW + timedelta(minutes=15)),
        AccountError("wrong", until=NOW + timedelta(minutes=15), step="account", code="parked"),
        LockHeldError("locked", until=NOW + timedelta(minutes=15), code="repo_locked"),
    ],
    ids=["429", "parked account", "locked repo"],
)
def test_waiting_gives_the_attempt_back(error: WaitError) -> None:
    """A 429 or a parked account costs no attempt, and nothing is due before the time it names."""
    after = after_failure(STATE, error, SETTINGS, NOW)
    assert (after.status, after.retry_at, after.attempts) == (Status.PENDING, error.until, 2)


def test_a_permanent_error_fails_at_once() -> None:
    """Trying again cannot help, so nothing does."""
    after = after_failure(STATE, PermanentError("bad field", code="x"), SETTINGS, NOW)
    assert (after.status, after.retry_at) == (Status.FAILED, None)
    assert after.error == Failure("", "x", "bad field", permanent=True, at=NOW)


def test_an_unexpected_error_is_retried_a_few_times_only() -> None:
    """It gets fewer attempts than an error that is known to pass."""
    error = UnexpectedError.of(KeyError("x"))
    once = after_failure(STATE._replace(attempts=1), error, SETTINGS, NOW)
    last = once._replace(attempts=MAX_UNEXPECTED_ATTEMPTS)
    assert once.status is Status.PENDING
    assert after_failure(last, error, SETTINGS, NOW).status is Status.FAILED


def test_an_unexpected_error_after_other_failures_is_not_the_last_attempt() -> None:
    """A PDS that was away for long leaves the item its attempts at an unexpected error."""
    away = after_failure(
        STATE._replace(attempts=MAX_UNEXPECTED_ATTEMPTS),
        TransientError("away", code="x"),
        SETTINGS,
        NOW,
    )
    error = UnexpectedError.of(KeyError("x"))
    assert after_failure(away, error, SETTINGS, NOW).status is Status.PENDING


def test_nothing_of_the_text_of_an_unexpected_error_is_kept() -> None:
    """It may hold a secret: its class is named, and nothing else."""
    after = after_failure(STATE, UnexpectedError.of(KeyError("secret")), SETTINGS, NOW)
    assert after.error is not None
    assert after.error.code == "KeyError"
    assert "secret" not in after.error.message


@pytest.mark.parametrize(
    ("attempts", "longest"), [(0, 2), (1, 2), (2, 4), (11, 2048), (12, 3600), (10_000, 3600)]
)
def test_backoff_doubles_to_the_ceiling_with_full_jitter(attempts: int, longest: float) -> None:
    """Every wait is between nothing and the doubled base, an hour at most."""
    waits = [backoff(attempts, SETTINGS) for _ in range(200)]
    assert min(waits) >= 0
    assert longest / 2 < max(waits) <= longest


def test_all_attempts_together_span_about_half_a_day() -> None:
    """An outage of a night does not fail an item: the expected waits add up to 6 to 14 hours."""
    longest = sum(min(2.0 * 2**n, 3600) for n in range(SETTINGS.max_attempts - 1))
    assert 12 * 3600 < longest < 14 * 3600
