"""The environment: every variable there and well formed, and limits that fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from worker.core.settings import Settings
from worker.operations.doctor.findings import Finding, doubtful, fine, wrong
from worker.queue.names import HARD_LIMIT, MAX_IN_FLIGHT_SECONDS

SUBJECT = "environment"


def judge_problems(problems: Sequence[str]) -> list[Finding]:
    """Judge what is missing or malformed, in the words of the settings."""
    return [
        wrong(SUBJECT, "variables", problem, "correct it; .env.example describes every variable")
        for problem in problems
    ]


def judge_settings(settings: Settings, visibility: float) -> Iterator[Finding]:
    """Judge settings that were read; `visibility` is the queue's time-out in seconds."""
    yield fine(SUBJECT, "variables", "all that is needed is there")
    yield _lease(settings.retry.lease)
    yield _visibility(visibility)
    yield _plain_http(allowed=settings.allow_http)
    dsn = settings.sentry_dsn
    where = (
        f"reports go to {urlsplit(dsn.reveal()).hostname}" if dsn else "off: SENTRY_DSN is empty"
    )
    yield fine(SUBJECT, "Sentry", where)


def _lease(seconds: float) -> Finding:
    found = f"LEASE_SECONDS is {seconds:g}, the time limit of a task {HARD_LIMIT} s"
    if seconds <= HARD_LIMIT:
        advice = (
            "set LEASE_SECONDS above it, or two runs of an item may overlap; the default is 100"
        )
        return wrong(SUBJECT, "lease", found, advice)
    return fine(SUBJECT, "lease", found)


def _visibility(seconds: float) -> Finding:
    longest = f"a message may be in hand {MAX_IN_FLIGHT_SECONDS:g} s"
    found = f"VISIBILITY_TIMEOUT_SECONDS is {seconds:g}, {longest}"
    if seconds <= MAX_IN_FLIGHT_SECONDS:
        advice = "set it above that, or messages run twice; the default is 600"
        return doubtful(SUBJECT, "redelivery", found, advice)
    return fine(SUBJECT, "redelivery", found)


def _plain_http(*, allowed: bool) -> Finding:
    if allowed:
        advice = "use https://, and leave ALLOW_HTTP out, outside of tests"
        return doubtful(SUBJECT, "encryption", "ALLOW_HTTP=1: passwords may go unencrypted", advice)
    return fine(SUBJECT, "encryption", "plain http is for the loopback alone")
