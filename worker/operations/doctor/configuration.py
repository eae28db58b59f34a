"""Check the environment: every variable present and well formed, and limits that fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from worker.core.settings import Settings
from worker.operations.doctor.results import CheckResult, fail, ok, warn
from worker.queue.names import HARD_LIMIT, MAX_IN_FLIGHT_SECONDS

ENVIRONMENT = "environment"


def evaluate_problems(problems: Sequence[str]) -> list[CheckResult]:
    """Judge what is missing or malformed, in the words of the settings."""
    return [
        fail(ENVIRONMENT, "variables", problem, "correct it; .env.example describes every variable")
        for problem in problems
    ]


def evaluate_settings(settings: Settings, visibility: float) -> Iterator[CheckResult]:
    """Judge settings that were read; `visibility` is the queue's time-out in seconds."""
    yield ok(ENVIRONMENT, "variables", "all that is needed is there")
    yield _lease(settings.retry.lease)
    yield _visibility(visibility)
    yield _plain_http(allowed=settings.allow_http)
    dsn = settings.sentry_dsn
    where = (
        f"reports go to {urlsplit(dsn.reveal()).hostname}" if dsn else "off: SENTRY_DSN is empty"
    )
    yield ok(ENVIRONMENT, "Sentry", where)


def _lease(seconds: float) -> CheckResult:
    found = f"LEASE_SECONDS is {seconds:g}, the time limit of a task {HARD_LIMIT} s"
    if seconds <= HARD_LIMIT:
        advice = (
            "set LEASE_SECONDS above it, or two runs of an item may overlap; the default is 100"
        )
        return fail(ENVIRONMENT, "lease", found, advice)
    return ok(ENVIRONMENT, "lease", found)


def _visibility(seconds: float) -> CheckResult:
    longest = f"a message may be in hand {MAX_IN_FLIGHT_SECONDS:g} s"
    found = f"VISIBILITY_TIMEOUT_SECONDS is {seconds:g}, {longest}"
    if seconds <= MAX_IN_FLIGHT_SECONDS:
        advice = "set it above that, or messages run twice; the default is 600"
        return warn(ENVIRONMENT, "redelivery", found, advice)
    return ok(ENVIRONMENT, "redelivery", found)


def _plain_http(*, allowed: bool) -> CheckResult:
    if allowed:
        advice = "use https://, and leave ALLOW_HTTP out, outside of tests"
        return warn(ENVIRONMENT, "encryption", "ALLOW_HTTP=1: passwords may go unencrypted", advice)
    return ok(ENVIRONMENT, "encryption", "plain http is for the loopback alone")
