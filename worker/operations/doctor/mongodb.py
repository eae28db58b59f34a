"""Check MongoDB: the version, the replica set and the clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC

import pymongo

from worker.database.mongo import mongo_errors, overridden_options
from worker.operations.doctor.installation import TIMEOUT, Installation
from worker.operations.doctor.machine import evaluate_clock
from worker.operations.doctor.results import CheckResult, Level, fail, judge, ok, warn

SUBJECT = "mongodb"
_MIN_VERSION = (6, 0)


@dataclass(frozen=True, slots=True)
class MongoFacts:
    """What the server reports; `ahead` is the lead of its clock in seconds."""

    version: str
    replica_set: str | None
    writable: bool
    ahead: float


def fetch_options(installation: Installation) -> list[str]:
    """Return the options of the URL that workers override."""
    return overridden_options(installation.settings.mongodb)


def evaluate_options(overridden: Sequence[str]) -> Iterator[CheckResult]:
    """Yield a warning if workers override options of the URL."""
    if overridden:
        advice = "remove them from MONGODB_CONNECTION_STRING: workers set them themselves"
        if "directconnection" in map(str.lower, overridden):
            advice += ", and connect to the primary by its name in the replica set's configuration"
        found = f"{', '.join(overridden)} of the URL have no effect"
        yield warn(SUBJECT, "URL options", found, advice)


def fetch(installation: Installation) -> MongoFacts:
    """Query the server; raises StoreUnavailableError."""
    database, clock = installation.database, installation.clock
    with mongo_errors(), pymongo.timeout(TIMEOUT):
        began = clock()
        hello = database.client.admin.command("hello")
        middle = (began + clock()) / 2
        version = str(database.client.server_info()["version"])
        database["users"].find_one({}, {"_id": 1})
    # Command replies contain naive dates, whatever the `tz_aware` of the client.
    ahead = hello["localTime"].replace(tzinfo=UTC).timestamp() - middle
    return MongoFacts(version, hello.get("setName"), bool(hello.get("isWritablePrimary")), ahead)


def evaluate(facts: MongoFacts) -> Iterator[CheckResult]:
    """Evaluate what the server reports."""
    advice = "update to 6.0 or newer"
    new = _numbers(facts.version) >= _MIN_VERSION
    yield judge(SUBJECT, "version", facts.version, advice, passes=new, level=Level.FAIL)
    if not facts.writable:
        advice = "name all members of the replica set in MONGODB_CONNECTION_STRING"
        yield fail(SUBJECT, "replica set", "this member does not accept writes", advice)
    elif facts.replica_set is None:
        advice = "make a replica set of one member: --replSet rs0, then rs.initiate()"
        yield warn(SUBJECT, "replica set", "none; media-atproto watch needs one", advice)
    else:
        yield ok(SUBJECT, "replica set", facts.replica_set)
    yield evaluate_clock(SUBJECT, facts.ahead)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdigit())
