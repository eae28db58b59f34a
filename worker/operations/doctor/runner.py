"""Run all checks in turn; an error of one does not affect the others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack

from worker.core.errors import MediaError
from worker.core.settings import QueueSettings, Settings
from worker.core.settings.reader import SettingsError
from worker.media.validation import LexiconFileError
from worker.operations.doctor.checks import (
    LOCAL_CHECKS,
    SERVICE_CHECKS,
    TYPES,
    USERS_CHECK,
    Check,
)
from worker.operations.doctor.configuration import ENVIRONMENT, evaluate_problems, evaluate_settings
from worker.operations.doctor.installation import Installation
from worker.operations.doctor.machine import Clock
from worker.operations.doctor.results import CheckResult, Level, fail
from worker.operations.unavailable import with_address

_ADVICE: Mapping[str, str] = {
    "mongodb": "check MONGODB_CONNECTION_STRING, and that MongoDB is running",
    "redis": "check REDIS_URL, and that Redis is running",
    "pds": "check PDS_URL, and that the PDS is running",
    "directory": "check DID_RESOLVER; until it responds, the last known PDS of an account is used",
    "media store": "check MEDIA_STORE_URL and the store",
    TYPES: "correct the package or file that is named, or workers do not start",
}


def examine(
    environ: Mapping[str, str], accounts: int = 0, clock: Clock = time.time
) -> Iterator[CheckResult]:
    """Yield the results of all checks; a service that is down takes a few seconds.

    `accounts` is the number of users' accounts to log in with, besides the guests'; `clock` is
    the clock of this machine. Errors of checks are returned as results.
    """
    down: set[str] = set()
    yield from run_checks(LOCAL_CHECKS, down)
    try:
        settings, queue = Settings.load(environ), QueueSettings.load(environ)
    except SettingsError as error:
        yield from evaluate_problems(error.problems)
        for subject in ("mongodb", "redis", "pds", "accounts"):
            yield _skip(subject, "all", ENVIRONMENT)
        return
    yield from evaluate_settings(settings, queue.visibility_timeout)
    checks = (*SERVICE_CHECKS, USERS_CHECK) if accounts else SERVICE_CHECKS
    with ExitStack() as resources:
        yield from run_checks(checks, down, Installation(settings, accounts, clock, resources))


def run_checks(
    checks: Iterable[Check], down: set[str], *installation: Installation
) -> Iterator[CheckResult]:
    """Run checks whose needs are not `down`; add subjects that are down to it."""
    for check in checks:
        if missing := sorted(check.needs & down):
            yield _skip(check.subject, check.name, missing[0])
            continue
        try:
            yield from check.evaluate(check.fetch(*installation))
        except Exception as error:  # noqa: BLE001
            # Any exception: a bug in one check must not hide the others. It becomes a failed check.
            down |= {check.subject} if check.vital else set()
            yield _report(check, error)


def _report(check: Check, error: Exception) -> CheckResult:
    """Return the error of a check as a result, without the text of unexpected errors."""
    if not isinstance(error, LexiconFileError | MediaError | SettingsError | OSError):
        found = f"unexpected {type(error).__name__}"
        advice = "report it: the check has a bug, or the service sent an invalid response"
        return fail(check.subject, check.name, found, advice)
    found = "; ".join(error.problems) if isinstance(error, SettingsError) else with_address(error)
    advice = _ADVICE.get(check.subject, "correct what the message names")
    return fail(check.subject, check.name, found, advice)


def _skip(subject: str, check: str, because: str) -> CheckResult:
    return CheckResult(
        subject, check, Level.SKIP, f"skipped: it needs {because}, which has a failure above"
    )
