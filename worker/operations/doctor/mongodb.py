"""Check MongoDB: the version, the replica set and the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC

import pymongo
from pymongo.database import Database

from worker.database.mongo import RawDocument, mongo_errors
from worker.operations.doctor.machine import Clock
from worker.operations.doctor.results import CheckResult, fail, ok, warn

SUBJECT = "mongodb"
TIMEOUT = 5.0  # seconds for each question
_MIN_VERSION = (6, 0)


@dataclass(frozen=True, slots=True)
class MongoFacts:
    """What the server says of itself; `ahead` is its clock's lead in seconds."""

    version: str
    replica_set: str | None
    writable: bool
    ahead: float


def fetch(database: Database[RawDocument], clock: Clock = time.time) -> MongoFacts:
    """Ask the server; raises StoreUnavailableError."""
    with mongo_errors(), pymongo.timeout(TIMEOUT):
        began = clock()
        hello = database.client.admin.command("hello")
        middle = (began + clock()) / 2
        version = str(database.client.server_info()["version"])
        database["users"].find_one({}, {"_id": 1})
    # Answers to commands have dates without a time zone, whatever the client is set to.
    ahead = hello["localTime"].replace(tzinfo=UTC).timestamp() - middle
    return MongoFacts(version, hello.get("setName"), bool(hello.get("isWritablePrimary")), ahead)


def evaluate(facts: MongoFacts) -> Iterator[CheckResult]:
    """Judge what the server says, its clock apart."""
    if _numbers(facts.version) < _MIN_VERSION:
        yield fail(SUBJECT, "version", facts.version, "update it to 6.0 or newer")
    else:
        yield ok(SUBJECT, "version", facts.version)
    if not facts.writable:
        advice = "name the whole set in MONGODB_CONNECTION_STRING, or look at its members"
        yield fail(SUBJECT, "replica set", "this member takes no writes", advice)
    elif facts.replica_set is None:
        advice = "make it a replica set of one: --replSet rs0, then rs.initiate()"
        yield warn(SUBJECT, "replica set", "none, so nothing can follow its changes", advice)
    else:
        yield ok(SUBJECT, "replica set", facts.replica_set)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdigit())
