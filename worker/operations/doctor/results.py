"""The results of checks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a result is; `skip` is for checks that another result made impossible."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line: the subject, what was checked and found, and what to do, if anything."""

    subject: str
    check: str
    level: Level
    found: str
    advice: str = ""


def ok(subject: str, check: str, found: str) -> CheckResult:
    """Return a result that needs no action."""
    return CheckResult(subject, check, Level.OK, found)


def warn(subject: str, check: str, found: str, advice: str) -> CheckResult:
    """Return a warning: it works now, and may fail later."""
    return CheckResult(subject, check, Level.WARN, found, advice)


def fail(subject: str, check: str, found: str, advice: str) -> CheckResult:
    """Return a failure: something does not work."""
    return CheckResult(subject, check, Level.FAIL, found, advice)


def judge(
    subject: str, check: str, found: str, advice: str, *, passes: bool, level: Level = Level.WARN
) -> CheckResult:
    """Return an ok result if the check passes, or else one of this level."""
    if passes:
        return ok(subject, check, found)
    return CheckResult(subject, check, level, found, advice)
