"""Check the configuration: the environment, media types with their lexicons, the media store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from worker.core.settings import Settings
from worker.files.store import SourceKey, SourceStore
from worker.media.lexicons import type_lexicons
from worker.media.registry import registry
from worker.media.validation.files import OWN_FOLDER
from worker.operations.doctor.findings import CheckResult, fail, ok, warn
from worker.operations.lexicons import CheckedLexicon, check
from worker.queue.names import HARD_LIMIT, MAX_IN_FLIGHT_SECONDS

ENVIRONMENT = "environment"
TYPES = "types"
STORE = "media store"
_TEST_FILE = "media-atproto-doctor"


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


def check_types() -> list[CheckResult]:
    """Load all types and their lexicons; raises MediaTypeError and LexiconFileError."""
    types = registry().types
    type_lexicons()
    return [ok(TYPES, "types", ", ".join(types))]


def check_lexicons() -> list[CheckResult]:
    """Check every lexicon, also against what was published; raises as `check_types` does."""
    folders = (OWN_FOLDER, *registry().lexicon_folders)
    return evaluate_lexicons([each for folder in folders for each in check(folder)])


def evaluate_lexicons(checked: Sequence[CheckedLexicon]) -> list[CheckResult]:
    """Judge lexicons; a line for each that is not as it should be."""
    findings = [
        fail(
            TYPES,
            "lexicons",
            f"{each.nsid}: {len(each.findings)} findings",
            "run media-atproto lexicons check",
        )
        for each in checked
        if each.findings
    ]
    valid = f"all {len(checked)} are valid, and compatible with what was published"
    return findings or [ok(TYPES, "lexicons", valid)]


def check_folder(folder: Path) -> list[CheckResult]:
    """Look whether a store that is a folder can be read."""
    return [
        evaluate_folder(
            folder, there=folder.is_dir(), readable=os.access(folder, os.R_OK | os.X_OK)
        )
    ]


def evaluate_folder(folder: Path, *, there: bool, readable: bool) -> CheckResult:
    """Judge a store that is a folder."""
    if not there:
        return fail(STORE, "folder", f"there is no folder {folder}", "look at MEDIA_STORE_URL")
    if not readable:
        advice = "let the worker's user read it and enter it"
        return fail(STORE, "folder", f"{folder} cannot be read", advice)
    return ok(STORE, "folder", f"{folder} can be read")


def check_store(sources: SourceStore, bucket: str) -> list[CheckResult]:
    """Ask a store on the web for a file that is nobody's; raises the errors of sources."""
    there = sources.exists(SourceKey(bucket, None, _TEST_FILE))
    told = "answers" if not there else "answers, though with a file that nobody stored"
    return [ok(STORE, "answer", f"it {told}")]
