"""One examination: all checks, one after the other, none in another's way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack

from worker.core.errors import MediaError
from worker.core.settings import QueueSettings, Settings
from worker.core.settings.reader import SettingsError
from worker.media.validation import LexiconFileError
from worker.operations.doctor import checks, machine
from worker.operations.doctor.checks import TYPES
from worker.operations.doctor.configuration import ENVIRONMENT, evaluate_problems, evaluate_settings
from worker.operations.doctor.machine import Clock
from worker.operations.doctor.results import Check, CheckResult, Level, fail

_LOOK: Mapping[str, str] = {
    "mongodb": "look at MONGODB_CONNECTION_STRING, and whether it runs",
    "redis": "look at REDIS_URL, and whether it runs",
    "pds": "look at PDS_URL, and whether it runs",
    "directory": "look at DID_RESOLVER; accounts are where they were last meanwhile",
    "media store": "look at MEDIA_STORE_URL, and at the store",
    TYPES: "correct the package or the file that is named; workers do not start",
}


def examine(
    environ: Mapping[str, str], accounts: int = 0, clock: Clock = time.time
) -> Iterator[CheckResult]:
    """Yield what is found, check by check, within a few seconds for each service that is away.

    `accounts` is how many of the users' are tried besides the guests'; `clock` is this machine's.
    Never raises: what a check raises is what it found.
    """
    yield from run_checks(
        [Check(machine.SUBJECT, "machine", lambda: machine.evaluate(machine.fetch()))]
    )
    types = list(run_checks(checks.type_checks()))
    yield from types
    try:
        settings, queue = Settings.load(environ), QueueSettings.load(environ)
    except SettingsError as error:
        yield from evaluate_problems(error.problems)
        yield from _skip_subjects(("mongodb", "redis", "pds", "accounts"), ENVIRONMENT)
        return
    yield from evaluate_settings(settings, queue.visibility_timeout)
    down = (
        {TYPES} if any(each.level is Level.FAIL and each.check == TYPES for each in types) else ()
    )
    with ExitStack() as resources:
        yield from run_checks(checks.service_checks(settings, accounts, clock, resources), down)


def run_checks(every: Iterable[Check], down: Iterable[str] = ()) -> Iterator[CheckResult]:
    """Carry out checks; those whose subject, or what they need, is `down` are skipped."""
    away = set(down)
    for check in every:
        if missing := sorted(check.needs & away):
            yield _skip(check.subject, check.name, missing[0])
            continue
        try:
            yield from check.run()
        except (LexiconFileError, MediaError, SettingsError, OSError) as error:
            away |= {check.subject} if check.vital else set()
            advice = _LOOK.get(check.subject, "look at what the message names")
            yield fail(check.subject, check.name, _words(error), advice)
        except Exception as error:  # noqa: BLE001 - a bug in one check must not hide the others
            advice = "this check has a bug, or the service an answer of its own: report it"
            yield fail(check.subject, check.name, f"{type(error).__name__} in the check", advice)


def _words(error: Exception) -> str:
    """Return an error's message on one line."""
    return "; ".join(error.problems) if isinstance(error, SettingsError) else str(error)


def _skip_subjects(subjects: Iterable[str], because: str) -> Iterator[CheckResult]:
    for subject in subjects:
        yield _skip(subject, "all", because)


def _skip(subject: str, check: str, because: str) -> CheckResult:
    return CheckResult(subject, check, Level.SKIP, f"not looked at, because of: {because}")
