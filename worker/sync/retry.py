"""Decide whether an item waits, is retried or fails after an error.

| error | status | attempt |
| --- | --- | --- |
| WaitError and its subclasses | pending until `error.until` | not counted |
| PermanentError | failed | counted |
| repeated UnexpectedError | pending with backoff, failed after 5 attempts | counted |
| every other error | pending with backoff, failed after the last attempt | counted |
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.core.clock import doubled, to_milliseconds
from worker.core.documents import Failure, Status, SyncState
from worker.core.errors import (
    AccountError,
    LockHeldError,
    MediaError,
    PermanentError,
    RateLimitReachedError,
    UnexpectedError,
    WaitError,
)
from worker.core.settings import RetrySettings

MAX_UNEXPECTED_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """The status after an error, and the time of the next attempt, if any.

    No run processes the item before `held_until`.
    """

    status: Status
    retry_at: datetime | None
    held_until: datetime | None = None


def decide(
    error: MediaError,
    attempts: int,
    settings: RetrySettings,
    now: datetime,
    *,
    met_before: bool = False,
) -> RetryDecision:
    """Choose status and retry time; `met_before` means the last error was the same."""
    if isinstance(error, WaitError):
        # Our own limits and locks are checked before each call: an account may work again at any
        # time, and a save may use the share that a backfill may not.
        is_ours = isinstance(error, AccountError | LockHeldError | RateLimitReachedError)
        return RetryDecision(Status.PENDING, error.until, None if is_ours else error.until)
    limit = settings.max_attempts
    if isinstance(error, UnexpectedError) and met_before:
        limit = min(MAX_UNEXPECTED_ATTEMPTS, limit)
    if isinstance(error, PermanentError) or attempts >= limit:
        return RetryDecision(Status.FAILED, None)
    retry_at = to_milliseconds(now + timedelta(seconds=backoff(attempts, settings)))
    return RetryDecision(Status.PENDING, retry_at)


def after_failure(
    state: SyncState, error: MediaError, settings: RetrySettings, now: datetime
) -> SyncState:
    """Build the state to save after a run ended with `error`."""
    # Earlier attempts may have failed for other reasons, and do not count towards this limit.
    met_before = state.error is not None and state.error.code == error.code
    decision = decide(error, state.attempts, settings, now, met_before=met_before)
    is_wait = isinstance(error, WaitError)
    return state.with_error(Failure.of(error, now))._replace(
        status=decision.status,
        retry_at=decision.retry_at,
        held_until=decision.held_until,
        attempts=max(0, state.attempts - 1) if is_wait else state.attempts,
        lost=state.lost if isinstance(error, PermanentError) else 0,
    )


def backoff(attempts: int, settings: RetrySettings) -> float:
    """Return a delay in seconds, by exponential backoff with full jitter.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    longest = doubled(settings.base, max(attempts - 1, 0), settings.ceiling)
    return random.uniform(0, longest)  # noqa: S311 - not for secrets
