"""Check the environment: variables are set and valid, and limits are consistent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from worker.core.settings import Settings
from worker.operations.doctor.results import CheckResult, Level, fail, judge, ok
from worker.queue.names import HARD_LIMIT, MAX_IN_FLIGHT_SECONDS

ENVIRONMENT = "environment"


def evaluate_problems(problems: Sequence[str]) -> list[CheckResult]:
    """Report missing and invalid variables with the messages of the settings."""
    return [
        fail(ENVIRONMENT, "variables", problem, "correct it; .env.example describes every variable")
        for problem in problems
    ]


def evaluate_settings(settings: Settings, visibility: float) -> Iterator[CheckResult]:
    """Evaluate the settings; `visibility` is the queue's timeout in seconds."""
    yield ok(ENVIRONMENT, "variables", "all required variables are set")
    site = f"records link to {settings.media.site_url}; SITE_URL or MEDIA_PROFILE sets it"
    yield ok(ENVIRONMENT, "site", site)
    lease = settings.retry.lease
    yield judge(
        ENVIRONMENT,
        "lease",
        f"LEASE_SECONDS is {lease:g}, the time limit of a task is {HARD_LIMIT} s",
        "set LEASE_SECONDS above it, or two runs of an item may overlap; the default is 100",
        passes=lease > HARD_LIMIT,
        level=Level.FAIL,
    )
    longest = f"a message may be in flight for {MAX_IN_FLIGHT_SECONDS:g} s"
    yield judge(
        ENVIRONMENT,
        "redelivery",
        f"VISIBILITY_TIMEOUT_SECONDS is {visibility:g}, {longest}",
        "set it above that, or messages are processed twice; the default is 600",
        passes=visibility > MAX_IN_FLIGHT_SECONDS,
    )
    http = "ALLOW_HTTP=1: passwords may be sent unencrypted"
    yield judge(
        ENVIRONMENT,
        "encryption",
        http if settings.allow_http else "plain HTTP is allowed for the loopback only",
        "use https://, and set ALLOW_HTTP in tests only",
        passes=not settings.allow_http,
    )
    dsn = settings.sentry.dsn
    host = urlsplit(dsn.reveal()).hostname if dsn else None
    yield ok(
        ENVIRONMENT,
        "Sentry",
        f"errors are reported to {host}" if dsn else "off: SENTRY_DSN is empty",
    )
