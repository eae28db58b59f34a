"""What a check finds: how bad it is, what was seen, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is; `skip` is what could not be looked at because of another."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line: of which subject, what was looked at and seen, and what to do, if anything."""

    subject: str
    check: str
    level: Level
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at: `needs` names the subjects without which there is nothing to see.

    A subject whose own check raises is down. `vital` is of checks that only raise when their
    subject cannot be reached at all.
    """

    subject: str
    name: str
    run: Callable[[], Iterable[CheckResult]]
    needs: frozenset[str] = frozenset()
    vital: bool = False


def ok(subject: str, check: str, found: str) -> CheckResult:
    """Return a finding that needs nothing done."""
    return CheckResult(subject, check, Level.OK, found)


def warn(subject: str, check: str, found: str, advice: str) -> CheckResult:
    """Return a warning: it works, and may not always."""
    return CheckResult(subject, check, Level.WARN, found, advice)


def fail(subject: str, check: str, found: str, advice: str) -> CheckResult:
    """Return a failure: something does not work."""
    return CheckResult(subject, check, Level.FAIL, found, advice)
