"""What the doctor makes of what it sees: every finding, without any service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import IndexModel

from tests.unit.test_settings import GOOD
from worker.core.errors import TransientError
from worker.core.rate_limits import REFERENCE, RateLimitHeaders
from worker.core.settings import Settings
from worker.database.indexes import Definition, IndexResult, IndexStatus
from worker.media.validation import load_lexicons
from worker.operations.doctor import machine, mongodb, pds, redis, store
from worker.operations.doctor.accounts import (
    LoginAttempt,
    StoredPasswords,
    evaluate_guests,
    evaluate_passwords,
    evaluate_users,
)
from worker.operations.doctor.checks import Check
from worker.operations.doctor.configuration import evaluate_problems, evaluate_settings
from worker.operations.doctor.machine import MachineFacts, Package, evaluate_clock
from worker.operations.doctor.maintenance import (
    WatchFacts,
    evaluate_indexes,
    evaluate_overdue,
    evaluate_watch,
)
from worker.operations.doctor.media import evaluate_lexicons
from worker.operations.doctor.mongodb import MongoFacts
from worker.operations.doctor.pds import (
    PdsFacts,
    evaluate_directory,
    evaluate_uploads,
    max_blob_size,
)
from worker.operations.doctor.redis import QueueFacts
from worker.operations.doctor.results import CheckResult, Level, ok
from worker.operations.doctor.runner import run_checks
from worker.operations.doctor.store import StoreFacts
from worker.operations.key_rotation import KeyUsage
from worker.operations.lexicons import CheckedLexicon, LexiconFinding
from worker.operations.watch.checkpoint import Checkpoint

OK, WARN, FAIL, SKIP = Level.OK, Level.WARN, Level.FAIL, Level.SKIP
MONGO = MongoFacts("8.0.4", "rs0", writable=True, ahead=0.0)
QUEUE = QueueFacts("valkey", "9.1.2", "master", True, "noeviction", 10, 0, 0.0, 0, ())  # noqa: FBT003
PDS = PdsFacts("0.5.35", 5_242_880, 0.0, None)
LIMITED = replace(PDS, limits=REFERENCE)
MACHINE = MachineFacts((3, 11), (Package("celery==5.7.0", "5.7.0"),), 4096, 2**40)
NOW = datetime(2026, 3, 12, 20, 53, tzinfo=UTC)


def bad(findings: Any) -> list[tuple[Level, str]]:
    """Return what is not right: how bad, and what is said; each has something to do."""
    found = [finding for finding in findings if finding.level is not OK]
    assert all(finding.advice for finding in found if finding.level is not SKIP)
    return [
        (finding.level, f"{finding.check}: {finding.found}: {finding.advice}") for finding in found
    ]


def watch(seconds_ago: float, trouble: str | None = None) -> WatchFacts:
    """Return the facts of a watch that last saved its position so many seconds ago."""
    saved_at = NOW - timedelta(seconds=seconds_ago)
    return WatchFacts(Checkpoint(saved_at=saved_at, lag=0.25, enqueued=3, trouble=trouble), NOW)


def made(name: str, standing: IndexStatus, detail: str = "") -> IndexResult:
    """Return an index of moods in a state."""
    return IndexResult(Definition("moods", IndexModel("x", name=name)), standing, detail)


def settings(**changes: str) -> Settings:
    """Return settings with changes."""
    return Settings.load(GOOD | changes)


OLD, LOST = Package("celery==5.7.0", "5.6.2"), Package("pillow>=13", None)
ADVERTISED = RateLimitHeaders(3000, 300.0, 2990, 200.0)
FEWER = RateLimitHeaders(1000, 300.0, 2990, 200.0)
ADA, BOB = (
    LoginAttempt("ada.test", ""),
    LoginAttempt("bob.test", "bob.test: the stored password is refused"),
)
READERS = ("handle changes", "papers")
STORE = StoreFacts(Path("/srv/media"), exists=True)
LARGEST = 1_048_576
LATE, SOON = timedelta(hours=2), timedelta(minutes=1)
SOUND = CheckedLexicon("com.example.good", Path("g.json"), "", ())
CHANGED = LexiconFinding(Path("x.json"), "defs.main", "1", "2", "why")
BROKEN = CheckedLexicon("com.example.thing", Path("x.json"), "", (CHANGED,))
THERE, MISSING = made("one", IndexStatus.EXISTS), made("two", IndexStatus.MISSING)
REFUSED = made("three", IndexStatus.REFUSED, "drop the other one")
WRONG: list[tuple[Iterable[CheckResult], Level, tuple[str, ...]]] = [
    (mongodb.evaluate(replace(MONGO, version="5.0.30")), FAIL, ("6.0 or newer",)),
    (mongodb.evaluate(replace(MONGO, version="4.4.1-rc0")), FAIL, ("6.0 or newer",)),
    (mongodb.evaluate(replace(MONGO, replica_set=None)), WARN, ("rs.initiate",)),
    (
        mongodb.evaluate_options(["readPreference", "w"]),
        WARN,
        ("readPreference, w of the URL have no effect", "remove them"),
    ),
    (
        mongodb.evaluate_options(["directConnection"]),
        WARN,
        ("by its name in the replica set's configuration",),
    ),
    (mongodb.evaluate(replace(MONGO, writable=False)), FAIL, ("does not accept writes",)),
    (redis.evaluate(replace(QUEUE, version="6.0.16")), WARN, ("6.2 or newer",)),
    (redis.evaluate(replace(QUEUE, role="slave")), FAIL, ("name the primary",)),
    (redis.evaluate(replace(QUEUE, policy="allkeys-lru")), FAIL, ("noeviction",)),
    (redis.evaluate(replace(QUEUE, keeps=False)), WARN, ("appendonly yes",)),
    (redis.evaluate(replace(QUEUE, used=99, most=100)), FAIL, ("raise maxmemory",)),
    (redis.evaluate(replace(QUEUE, used=85, most=100)), WARN, ("before it is full",)),
    (redis.evaluate(replace(QUEUE, foreign_keys=("cart:7",))), WARN, ("'cart:7'",)),
    (redis.evaluate(replace(QUEUE, live=20_000)), WARN, ("20000 saves",)),
    (machine.evaluate(replace(MACHINE, python=(3, 10))), FAIL, ("3.11 or newer",)),
    (machine.evaluate(replace(MACHINE, packages=(OLD,))), FAIL, ("version 5.6.2 is installed",)),
    (machine.evaluate(replace(MACHINE, packages=(LOST,))), FAIL, ("nothing is installed",)),
    (machine.evaluate(replace(MACHINE, files=256)), WARN, ("ulimit",)),
    (machine.evaluate(replace(MACHINE, free=1000)), WARN, ("free disk space",)),
    (pds.evaluate(replace(PDS, advertised=ADVERTISED)), WARN, ("RATE_LIMITS is off",)),
    (pds.evaluate(replace(LIMITED, advertised=FEWER)), WARN, ("1000", "3000 in 300 s")),
    (evaluate_uploads((100_000, LARGEST)), WARN, ("PDS_BLOB_UPLOAD_LIMIT",)),
    (evaluate_directory(("https://plc.example", 502)), FAIL, ("502", "DID_RESOLVER")),
    (
        evaluate_passwords(StoredPasswords(KeyUsage(Counter({1: 3}), 0, ["auth0|dan"]))),
        FAIL,
        ("auth0|dan",),
    ),
    (
        evaluate_passwords(StoredPasswords(KeyUsage(Counter(), 2))),
        WARN,
        ("2 are stored unencrypted", "Other programs may read", "rotate-keys"),
    ),
    (
        evaluate_passwords(StoredPasswords(KeyUsage(Counter(), 2), READERS)),
        WARN,
        ("on this platform: handle changes, papers", "rotate-keys"),
    ),
    (
        evaluate_passwords(StoredPasswords(KeyUsage(Counter({1: 3})), READERS)),
        WARN,
        ("3 are encrypted", "handle changes, papers", "cannot log in"),
    ),
    (evaluate_passwords(StoredPasswords(KeyUsage(Counter({1: 3, 2: 1})))), WARN, ("rotate-keys",)),
    (evaluate_guests(LoginAttempt("art-guest", "", exists=False)), WARN, ("GUEST_SUBJECT",)),
    (
        evaluate_guests(LoginAttempt("g.test", "g.test: refused", code="wrong_password")),
        FAIL,
        ("refused", "store the current password"),
    ),
    (evaluate_users([ADA, BOB]), FAIL, ("1 of 2", "bob.test")),
    (evaluate_settings(settings(LEASE_SECONDS="60"), 600), FAIL, ("LEASE_SECONDS is 60",)),
    (evaluate_settings(settings(), 100), WARN, ("VISIBILITY_TIMEOUT_SECONDS is 100",)),
    (evaluate_settings(settings(ALLOW_HTTP="1"), 600), WARN, ("ALLOW_HTTP",)),
    (store.evaluate(replace(STORE, exists=False)), FAIL, ("does not exist",)),
    (store.evaluate(replace(STORE, readable=False)), FAIL, ("cannot be read",)),
    (evaluate_lexicons([SOUND, BROKEN]), FAIL, ("com.example.thing", "lexicons check")),
    (evaluate_indexes([THERE, MISSING]), FAIL, ("1 of 2", "moods.two", "media-atproto init")),
    (evaluate_indexes([THERE, REFUSED]), FAIL, ("moods.three", "drop the other one")),
    (evaluate_overdue({"mood": LATE, "piece": SOON}), WARN, ("mood", "120 minutes", "beat")),
    (evaluate_watch(watch(90)), WARN, ("has not changed since 2026-03-12 20:51 UTC",)),
    (evaluate_watch(watch(90, "redis_unavailable")), WARN, ("because of redis_unavailable",)),
]


@pytest.mark.parametrize(("found", "level", "texts"), WRONG)
def test_problem_is_reported_with_its_level(
    found: Iterable[CheckResult], level: Level, texts: tuple[str, ...]
) -> None:
    """It is the only problem; the finding or its advice has these texts."""
    ((actual, said),) = bad(found)
    assert actual is level
    assert not [text for text in texts if text not in said]


def test_nothing_is_reported_where_all_is_right() -> None:
    """The largest blob that the lexicons allow is what a PDS has to accept."""
    assert max_blob_size(load_lexicons()) == LARGEST
    assert not bad(
        [
            *mongodb.evaluate(MONGO),
            *redis.evaluate(QUEUE),
            *pds.evaluate(PDS),
            *pds.evaluate(replace(LIMITED, advertised=ADVERTISED)),
            *machine.evaluate(MACHINE),
            *machine.evaluate(replace(MACHINE, files=-1)),  # no limit of open files
            *evaluate_settings(settings(), 600),
            *evaluate_uploads((LARGEST, LARGEST)),
            *evaluate_uploads((None, LARGEST)),
            *evaluate_passwords(StoredPasswords(KeyUsage(Counter({1: 3})))),
            *evaluate_guests(LoginAttempt("g.test", "")),
            *evaluate_users([ADA]),
            *evaluate_users([]),
            *store.evaluate(STORE),
            *store.evaluate(StoreFacts(None, exists=False)),
            *evaluate_lexicons([SOUND]),
            *evaluate_indexes([THERE]),
            *evaluate_overdue({"mood": SOON}),
            *evaluate_overdue({}),
        ]
    )


@pytest.mark.parametrize(
    ("ahead", "level"),
    [(0.4, OK), (-1.9, OK), (2.1, WARN), (-29.0, WARN), (30.5, FAIL), (-3600.0, FAIL)],
)
def test_a_clock_is_judged_by_how_far_it_is_off(ahead: float, level: Level) -> None:
    """In either direction."""
    finding = evaluate_clock("pds", ahead)
    assert finding.level is level
    assert ("ahead of" in finding.found) == (ahead > 0)


def test_the_key_of_sentry_is_not_told() -> None:
    """Its host is."""
    dsn = {"SENTRY_DSN": "https://canarykey@sentry.example/7"}
    told = str(list(evaluate_settings(Settings.load(GOOD | dsn), 600)))
    assert "sentry.example" in told
    assert "canarykey" not in told


def test_every_problem_of_the_environment_is_a_finding() -> None:
    """In the words of the settings."""
    found = bad(evaluate_problems(["PDS_URL is missing", "REDIS_URL is not a URL"]))
    assert [level for level, _ in found] == [FAIL, FAIL]
    assert "PDS_URL is missing" in found[0][1]


def test_packages_are_those_that_this_version_asks_for() -> None:
    """Read from its own metadata; those of extras are not asked for."""
    facts = machine.fetch()
    names = {package.requirement.partition("=")[0].partition("[")[0] for package in facts.packages}
    assert "celery" in names
    assert not {"pytest", "flower"} & names
    assert not [
        each for each in machine.evaluate(facts) if each.check == "packages" and each.advice
    ]


def test_a_check_that_fails_hides_only_what_needs_it() -> None:
    """Whatever it raises, a bug included; nothing of the bug's text is told."""

    def away() -> str:
        raise TransientError("nobody there")

    def bug() -> str:
        raise KeyError("canary")

    def report(text: str) -> list[CheckResult]:
        return [ok("redis", "more", text)]

    checks = [
        Check("mongodb", "answer", away, report, vital=True),
        Check("mongodb", "indexes", str, report, frozenset({"mongodb"})),
        Check("redis", "answer", bug, report),
        Check("redis", "more", str, report, frozenset({"redis"})),
    ]
    found = list(run_checks(checks, set()))
    assert [finding.level for finding in found] == [FAIL, SKIP, FAIL, OK]
    assert "nobody there" in found[0].found
    assert "KeyError" in found[2].found
    assert "canary" not in str(found)


def test_a_running_watch_is_reported_with_its_lag() -> None:
    """A watch that was never started is no problem."""
    (running,), (unused,) = evaluate_watch(watch(4)), evaluate_watch(WatchFacts(None, NOW))
    assert running.found.endswith("enqueued 0.2 s late")
    assert running.level is unused.level is OK
