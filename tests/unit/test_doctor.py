"""What the doctor makes of what it sees: every finding, without any service."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import IndexModel

from tests.unit.test_settings import GOOD
from worker.authority import Checked
from worker.authority import Finding as LexiconFinding
from worker.doctor import machine, mongodb, pds, queue
from worker.doctor.accounts import Login, judge_guests, judge_passwords, judge_users
from worker.doctor.clocks import judge_clock
from worker.doctor.environment import judge_problems, judge_settings
from worker.doctor.examination import run
from worker.doctor.findings import Check, Finding, Level, fine
from worker.doctor.machine import MachineFacts, Package
from worker.doctor.media import judge_folder
from worker.doctor.mongodb import MongoFacts
from worker.doctor.pds import PdsFacts, judge_directory, judge_uploads, largest_blob
from worker.doctor.queue import QueueFacts
from worker.doctor.types import judge_lexicons
from worker.doctor.upkeep import judge_indexes, judge_overdue, judge_watch
from worker.errors import TransientError
from worker.indexes import Definition, Made, Standing
from worker.lexicon import load_lexicons
from worker.rates import REFERENCE, Told
from worker.rotation import Holdings
from worker.settings import Settings
from worker.watch.position import Position

OK, WARN, FAIL, SKIP = Level.OK, Level.WARN, Level.FAIL, Level.SKIP
MONGO = MongoFacts("8.0.4", "rs0", writable=True, ahead=0.0)
QUEUE = QueueFacts("valkey", "9.1.2", "master", True, "noeviction", 10, 0, 0.0, 0, ())  # noqa: FBT003
PDS = PdsFacts("0.5.35", 5_242_880, 0.0, None)
MACHINE = MachineFacts((3, 11), (Package("celery==5.7.0", "5.7.0"),), 4096, 2**40)
NOW = datetime(2026, 3, 12, 20, 53, tzinfo=UTC)


def bad(findings: Any) -> list[tuple[Level, str]]:
    """Return what is not right: how bad, and what is said; each has something to do."""
    found = [finding for finding in findings if finding.level is not OK]
    assert all(finding.advice for finding in found if finding.level is not SKIP)
    return [
        (finding.level, f"{finding.check}: {finding.found}: {finding.advice}") for finding in found
    ]


def only(findings: Any, level: Level, *texts: str) -> None:
    """Assert that one thing is not right, so bad, and that these texts are said of it."""
    ((found, said),) = bad(findings)
    assert found is level
    for text in texts:
        assert text in said


def test_nothing_is_found_where_all_is_right() -> None:
    """Each subject has something to say all the same."""
    for findings in (
        list(mongodb.judge(MONGO)),
        list(queue.judge(QUEUE)),
        list(pds.judge(PDS, ())),
        list(machine.judge(MACHINE)),
        list(judge_settings(Settings.load(GOOD), 600)),
    ):
        assert findings
        assert not bad(findings)


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({"version": "5.0.30"}, FAIL, "6.0 or newer"),
        ({"version": "4.4.1-rc0"}, FAIL, "6.0 or newer"),
        ({"replica_set": None}, WARN, "rs.initiate"),
        ({"writable": False}, FAIL, "takes no writes"),
    ],
)
def test_a_mongodb_that_will_not_do(changes: dict[str, Any], level: Level, said: str) -> None:
    """Too old, alone, or not the one to write to."""
    only(mongodb.judge(replace(MONGO, **changes)), level, said)


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({"version": "6.0.16"}, WARN, "6.2 or newer"),
        ({"role": "slave"}, FAIL, "name the primary"),
        ({"policy": "allkeys-lru"}, FAIL, "noeviction"),
        ({"keeps": False}, WARN, "appendonly yes"),
        ({"used": 99, "most": 100}, FAIL, "raise maxmemory"),
        ({"used": 85, "most": 100}, WARN, "before it is full"),
        ({"strangers": ("cart:7",)}, WARN, "'cart:7'"),
        ({"live": 20_000}, WARN, "20000 saves"),
    ],
)
def test_a_redis_that_will_not_do(changes: dict[str, Any], level: Level, said: str) -> None:
    """Too old, a copy, forgetful, full, or shared."""
    only(queue.judge(replace(QUEUE, **changes)), level, said)


@pytest.mark.parametrize(
    ("ahead", "level"),
    [(0.4, OK), (-1.9, OK), (2.1, WARN), (-29.0, WARN), (30.5, FAIL), (-3600.0, FAIL)],
)
def test_a_clock_is_judged_by_how_far_it_is_off(ahead: float, level: Level) -> None:
    """In either direction."""
    finding = judge_clock("pds", ahead)
    assert finding.level is level
    assert ("ahead of" in finding.found) == (ahead > 0)


def test_limits_that_are_not_counted_are_told() -> None:
    """Refused calls are charged."""
    said = Told(3000, 300.0, 2990, 200.0)
    only(pds.judge(replace(PDS, told=said), ()), WARN, "RATE_LIMITS is off")
    assert not bad(pds.judge(replace(PDS, told=said), REFERENCE))
    other = replace(said, points=1000)
    only(pds.judge(replace(PDS, told=other), REFERENCE), WARN, "1000", "3000 in 300 s")


def test_blobs_that_the_pds_would_refuse_are_told() -> None:
    """The largest that our lexicons allow is what counts."""
    largest = largest_blob(load_lexicons())
    assert largest == 1_048_576
    only([judge_uploads(100_000, largest)], WARN, "PDS_BLOB_UPLOAD_LIMIT")
    assert not bad([judge_uploads(largest, largest), judge_uploads(None, largest)])


def test_a_directory_that_answers_an_error_is_told() -> None:
    """It may be another service."""
    only([judge_directory("https://plc.example", 502)], FAIL, "502", "DID_RESOLVER")


def test_passwords_that_no_key_opens_are_named() -> None:
    """And those that are plain, or under an old key."""
    assert not bad(judge_passwords(Holdings(Counter({1: 3}))))
    only(judge_passwords(Holdings(Counter({1: 3}), 0, ["auth0|dan"])), FAIL, "auth0|dan")
    only(judge_passwords(Holdings(Counter({1: 3}), 2)), WARN, "encrypt-passwords")
    only(judge_passwords(Holdings(Counter({1: 3, 2: 1}))), WARN, "rotate-keys")


def test_guests_without_an_account_are_told() -> None:
    """It is no fault where a platform has no guests."""
    only([judge_guests("art-guest", None)], WARN, "GUEST_SUBJECT")
    only([judge_guests("art-guest", Login("g.test", "g.test: refused"))], FAIL, "refused")
    assert not bad([judge_guests("art-guest", Login("g.test", ""))])


def test_accounts_that_do_not_log_in_are_counted_and_named() -> None:
    """Some of them."""
    logins = [Login("ada.test", ""), Login("bob.test", "bob.test: the stored password is refused")]
    only([judge_users(logins)], FAIL, "1 of 2", "bob.test")
    assert not bad([judge_users(logins[:1]), judge_users([])])


def test_settings_that_do_not_fit_each_other_are_told() -> None:
    """Each is well formed by itself."""
    short = Settings.load(GOOD | {"LEASE_SECONDS": "60"})
    only(judge_settings(short, 600), FAIL, "LEASE_SECONDS is 60")
    only(judge_settings(Settings.load(GOOD), 100), WARN, "VISIBILITY_TIMEOUT_SECONDS is 100")
    only(judge_settings(Settings.load(GOOD | {"ALLOW_HTTP": "1"}), 600), WARN, "ALLOW_HTTP")


def test_the_key_of_sentry_is_not_told() -> None:
    """Its host is."""
    dsn = {"SENTRY_DSN": "https://canarykey@sentry.example/7"}
    told = str(list(judge_settings(Settings.load(GOOD | dsn), 600)))
    assert "sentry.example" in told
    assert "canarykey" not in told


def test_every_problem_of_the_environment_is_a_finding() -> None:
    """In the words of the settings."""
    found = bad(judge_problems(["PDS_URL is missing", "REDIS_URL is not a URL"]))
    assert [level for level, _ in found] == [FAIL, FAIL]
    assert "PDS_URL is missing" in found[0][1]


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({"python": (3, 10)}, FAIL, "3.11 or newer"),
        ({"packages": (Package("celery==5.7.0", "5.6.2"),)}, FAIL, "5.6.2 is installed"),
        ({"packages": (Package("pillow>=13", None),)}, FAIL, "not installed"),
        ({"files": 256}, WARN, "ulimit"),
        ({"free": 1000}, WARN, "make room"),
    ],
)
def test_a_machine_that_will_not_do(changes: dict[str, Any], level: Level, said: str) -> None:
    """Python, a package, open files, disk."""
    only(machine.judge(replace(MACHINE, **changes)), level, said)


def test_no_limit_of_open_files_is_right() -> None:
    """The system says -1."""
    assert not bad(machine.judge(replace(MACHINE, files=-1)))


def test_packages_are_those_that_this_version_asks_for() -> None:
    """Read from its own metadata; those of extras are not asked for."""
    facts = machine.ask()
    names = {package.requirement.partition("=")[0].partition("[")[0] for package in facts.packages}
    assert "celery" in names
    assert not {"pytest", "flower"} & names
    assert not [each for each in machine.judge(facts) if each.check == "packages" and each.advice]


def test_a_folder_that_cannot_be_read_is_told() -> None:
    """Missing is another thing than forbidden."""
    folder = Path("/srv/media")
    only([judge_folder(folder, there=False, readable=False)], FAIL, "there is no folder")
    only([judge_folder(folder, there=True, readable=False)], FAIL, "cannot be read")
    assert not bad([judge_folder(folder, there=True, readable=True)])


def test_lexicons_with_findings_are_named() -> None:
    """Where to read them is said."""
    finding = LexiconFinding(Path("x.json"), "defs.main", "1", "2", "why")
    sound = Checked("com.example.good", Path("g.json"), "", ())
    broken = Checked("com.example.thing", Path("x.json"), "", (finding,))
    only(judge_lexicons([sound, broken]), FAIL, "com.example.thing", "lexicons check")
    assert not bad(judge_lexicons([sound]))


def test_indexes_that_are_missing_or_refused_are_named() -> None:
    """The refused ones with what is in the way."""
    there, missing, refused = (
        Made(Definition("moods", IndexModel("x", name=name)), standing, detail)
        for name, standing, detail in (
            ("one", Standing.THERE, ""),
            ("two", Standing.MISSING, ""),
            ("three", Standing.REFUSED, "drop the other one"),
        )
    )
    assert not bad(judge_indexes([there]))
    only(judge_indexes([there, missing]), FAIL, "1 of 2", "moods.two", "media-atproto init")
    only(judge_indexes([there, refused]), FAIL, "moods.three", "drop the other one")


def test_items_that_are_long_overdue_are_told() -> None:
    """The oldest of all types: then no worker, or no beat, runs."""
    late, soon = NOW - timedelta(hours=2), NOW - timedelta(minutes=1)
    only([judge_overdue({"mood": late, "piece": soon}, NOW)], WARN, "mood", "120 minutes", "beat")
    assert not bad([judge_overdue({"mood": soon, "piece": None}, NOW)])


def test_a_check_that_fails_hides_only_what_needs_it() -> None:
    """Whatever it raises, a bug included; nothing of the bug's text is told."""

    def away() -> list[Finding]:
        raise TransientError("nobody there")

    def bug() -> list[Finding]:
        raise KeyError("canary")

    checks = [
        Check("mongodb", "answer", away, vital=True),
        Check(
            "mongodb", "indexes", lambda: [fine("mongodb", "indexes", "-")], frozenset({"mongodb"})
        ),
        Check("redis", "answer", bug),
        Check("redis", "more", lambda: [fine("redis", "more", "-")], frozenset({"redis"})),
    ]
    found = list(run(checks))
    assert [finding.level for finding in found] == [FAIL, SKIP, FAIL, OK]
    assert "nobody there" in found[0].found
    assert "KeyError" in found[2].found
    assert "canary" not in str(found)


def watch(seconds_ago: float, trouble: str | None = None) -> Position:
    """Return where a watch stands that kept its position so long ago."""
    return Position(
        fence=1,
        holder="vm:1:abcd",
        until=None,
        token=None,
        must_sweep=False,
        saved_at=NOW - timedelta(seconds=seconds_ago),
        last_event_at=None,
        lag=0.25,
        enqueued=3,
        unknown=0,
        trouble=trouble,
    )


def test_a_watch_is_named_with_how_late_it_is() -> None:
    """One that nobody has ever started is not missed."""
    assert judge_watch(watch(4), NOW).found.startswith("vm:1:abcd watches; ")
    assert judge_watch(watch(4), NOW).level is OK
    assert judge_watch(None, NOW).level is OK


def test_a_watch_that_stands_still_is_doubtful() -> None:
    """Nobody watches, or whoever does waits: then it is said for what."""
    only([judge_watch(watch(90), NOW)], WARN, "has not moved since 2026-03-12 20:51 UTC")
    waits = watch(90, "redis_unavailable")
    only([judge_watch(waits, NOW)], WARN, "it waits (redis_unavailable)")
