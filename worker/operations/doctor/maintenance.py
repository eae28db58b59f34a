"""Check what workers maintain in MongoDB: indexes, overdue items, and the watch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pymongo
from pymongo.database import Database

from worker.core.clock import now
from worker.database import indexes
from worker.database.indexes import IndexResult, IndexStatus
from worker.database.mongo import RawDocument, mongo_errors
from worker.media import MEDIA_TYPES
from worker.operations.doctor.installation import TIMEOUT, Installation
from worker.operations.doctor.mongodb import SUBJECT
from worker.operations.doctor.results import CheckResult, fail, ok, warn
from worker.operations.error_help import help_for
from worker.operations.watch import checkpoint
from worker.operations.watch.checkpoint import Checkpoint

WORKERS = "workers"
_MAX_LISTED = 3
_MAX_OVERDUE = timedelta(minutes=15)
_MAX_SILENCE = timedelta(minutes=1)  # the watch saves its position every few seconds


@dataclass(frozen=True, slots=True)
class WatchFacts:
    """The checkpoint of the watch, None if it was never used, and when it was read."""

    saved: Checkpoint | None
    read_at: datetime


def fetch_indexes(installation: Installation) -> list[IndexResult]:
    """Compare the indexes with their definitions; raises StoreUnavailableError."""
    with pymongo.timeout(TIMEOUT):
        return list(indexes.inspect(installation.database))


def evaluate_indexes(every: Sequence[IndexResult]) -> list[CheckResult]:
    """Report indexes that cannot be created or are missing.

    Return one failure for each that cannot be created and one for all missing, or one success.
    """
    findings = [
        fail(SUBJECT, "indexes", f"{_format_names(made)} cannot be created", made.detail)
        for made in every
        if made.status is IndexStatus.REFUSED
    ]
    missing = [_format_names(made) for made in every if made.status is IndexStatus.MISSING]
    if missing:
        first = ", ".join(missing[:_MAX_LISTED]) + (", ..." if len(missing) > _MAX_LISTED else "")
        found = f"{len(missing)} of {len(every)} missing: {first}"
        findings.append(fail(SUBJECT, "indexes", found, "run media-atproto init"))
    return findings or [ok(SUBJECT, "indexes", f"all {len(every)} exist")]


def _format_names(made: IndexResult) -> str:
    return f"{made.definition.collection}.{made.definition.name}"


def fetch_overdue(installation: Installation) -> dict[str, timedelta]:
    """Return the age of the oldest due item by type; raises StoreUnavailableError."""
    found = {
        name: _due(installation.database, kind.collection) for name, kind in MEDIA_TYPES.items()
    }
    return {name: now() - due for name, due in found.items() if due}


def _due(database: Database[RawDocument], collection: str) -> datetime | None:
    match = {"atproto.retryAt": {"$type": "date"}}
    with mongo_errors(), pymongo.timeout(TIMEOUT):
        found = database[collection].find_one(match, sort=[("atproto.retryAt", 1)])
    state = (found or {}).get("atproto")
    moment = state.get("retryAt") if isinstance(state, dict) else None
    return moment if isinstance(moment, datetime) else None


def evaluate_overdue(ages: Mapping[str, timedelta]) -> Iterator[CheckResult]:
    """Evaluate the ages of due items, which the sweep should have enqueued."""
    name, age = max(ages.items(), key=lambda pair: pair[1], default=("", timedelta()))
    if age <= _MAX_OVERDUE:
        yield ok(WORKERS, "sweep", "no item is overdue")
        return
    found = f"an item of type {name} has been due for {age.total_seconds() / 60:.0f} minutes"
    yield warn(
        WORKERS, "sweep", found, "check that a worker and beat are running, and read their logs"
    )


def fetch_watch(installation: Installation) -> WatchFacts:
    """Read the checkpoint of the watch; raises StoreUnavailableError."""
    with pymongo.timeout(TIMEOUT):
        return WatchFacts(checkpoint.read_checkpoint(installation.database), now())


def evaluate_watch(facts: WatchFacts) -> Iterator[CheckResult]:
    """Evaluate whether the watch saves its position."""
    saved = facts.saved
    if saved is None:
        yield ok(WORKERS, "watch", "not in use")
        return
    if saved.saved_at and facts.read_at - saved.saved_at <= _MAX_SILENCE:
        found = f"running; the last change was enqueued {saved.lag:.1f} s late"
        yield ok(WORKERS, "watch", found)
        return
    since = f"{saved.saved_at:%Y-%m-%d %H:%M} UTC" if saved.saved_at else "its start"
    found = f"the position has not changed since {since}"
    if saved.trouble:
        found += f": waiting because of {saved.trouble}"
        advice = help_for(saved.trouble).action
    else:
        advice = "start media-atproto watch, or drop atproto_watch if it is no longer used"
    yield warn(WORKERS, "watch", found, advice)
