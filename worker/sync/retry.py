"""What a failure does to an item's state: wait, try again, or give up. Pure.

| error | state | attempt |
| --- | --- | --- |
| WaitError, AccountError, RateLimitReachedError | pending until the time it names | given back |
| PermanentError | failed | used |
| TransientError and the rest of ours | pending with backoff, failed after the last attempt | used |
| anything else, a bug | the same, with fewer attempts | used |
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

from worker.core.clock import to_milliseconds
from worker.core.documents import Failure, Status, SyncState
from worker.core.errors import (
    AccountError,
    MediaError,
    PermanentError,
    RateLimitReachedError,
    WaitError,
)
from worker.core.settings import RetrySettings

MAX_UNEXPECTED_ATTEMPTS = 5


def after_failure(
    state: SyncState, error: MediaError, settings: RetrySettings, now: datetime
) -> SyncState:
    """Return the state after a run that ended with one of our errors."""
    failure = Failure.of(error, now)
    state = replace(state, held_until=None)
    if isinstance(error, WaitError):
        # What we know ourselves is looked at before each call: an account may be right again any
        # moment, and a save may spend what a backfill may not.
        held = None if isinstance(error, AccountError | RateLimitReachedError) else error.until
        waiting = replace(state, attempts=max(0, state.attempts - 1), retry_at=error.until)
        waiting = replace(waiting, status=Status.PENDING, error=failure, lost=0)
        return replace(waiting, held_until=held)
    if isinstance(error, PermanentError):
        return replace(state, status=Status.FAILED, error=failure, retry_at=None)
    return _retry_or_fail(state, failure, settings.max_attempts, settings, now)


def after_unexpected_error(
    state: SyncState, failure: Failure, settings: RetrySettings, now: datetime
) -> SyncState:
    """Return the state after a run that ended with an error nobody expected."""
    # The attempts before it may have failed for other reasons: one bug is not five.
    met_before = state.error is not None and state.error.code == failure.code
    most = (
        min(MAX_UNEXPECTED_ATTEMPTS, settings.max_attempts) if met_before else settings.max_attempts
    )
    return _retry_or_fail(replace(state, held_until=None), failure, most, settings, now)


def backoff(attempts: int, settings: RetrySettings) -> float:
    """Return the seconds to wait after so many attempts: doubling, with full jitter.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    doubled = settings.base * 2.0 ** min(max(attempts - 1, 0), 60)
    return random.uniform(0, min(doubled, settings.ceiling))  # noqa: S311 - not for secrets


def retry_time(attempts: int, settings: RetrySettings, now: datetime) -> datetime | None:
    """Return when to try again, or None when there has been the last attempt."""
    if attempts >= settings.max_attempts:
        return None
    return to_milliseconds(now + timedelta(seconds=backoff(attempts, settings)))


def _retry_or_fail(
    state: SyncState, failure: Failure, most: int, settings: RetrySettings, now: datetime
) -> SyncState:
    retry_at = retry_time(state.attempts, settings, now) if state.attempts < most else None
    status = Status.PENDING if retry_at else Status.FAILED
    return replace(state, status=status, error=failure, retry_at=retry_at, lost=0)
