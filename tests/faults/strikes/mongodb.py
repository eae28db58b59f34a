"""A MongoDB that dies, steps down, lags behind, or does not take thumbnails in."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database

from tasks import enqueue
from tests.faults.events import Events, task_events
from tests.faults.stage import Stage
from tests.second_member import second_member
from tests.terminal import run
from worker.database.mongo import RawDocument, StoreUnavailableError
from worker.database.thumbnail_cache import COLLECTION
from worker.media import MEDIA_TYPES, MediaType

_MESSAGES, _FAILURES, _PAINTINGS, _UNKNOWN = 20, 3, 3, 20
_STEPPED_DOWN_SECONDS = 5
_AT_ONCE: dict[str, Any] = {"secondaryCatchUpPeriodSecs": 0, "force": True}
_NEVER = {"never": {"$exists": True}}


def kill(stage: Stage) -> None:
    """Kill -9 mongod, and start it when tasks have failed for it."""
    items = stage.items[:_MESSAGES]
    with task_events(stage.environ["REDIS_URL"]) as events:
        stage.stack.mongod.kill()
        for item in items:  # the stream itself waits for MongoDB now
            enqueue(item.type, item.id)
        stage.wait(lambda: _failures(events) >= _FAILURES, "tasks to fail for it")
    stage.stack.mongod.start()


def step_down(stage: Stage) -> None:
    """Let the primary step down; with nobody else there, it is elected again after a while."""
    url = stage.environ["MONGODB_CONNECTION_STRING"]
    with MongoClient[RawDocument](url, directConnection=True) as direct:
        admin = direct.admin
        before = _election(admin)
        admin.command("replSetStepDown", _STEPPED_DOWN_SECONDS, **_AT_ONCE)
        stage.wait(lambda: _election(admin) not in {None, before}, "an election")


def lag_behind(stage: Stage) -> None:
    """Let a second member lag until items are published that it does not have; audit and repair.

    To a worker that reads from it, these look deleted.
    """
    url, name = stage.environ["MONGODB_CONNECTION_STRING"], stage.platform.database.name
    folder = stage.folder / "second-member"
    with second_member(url, folder, stage.environ) as member:
        member.lag()
        there = member.direct[name]

        def unknown(kind: MediaType) -> int:
            states = stage.platform.states(kind.name).items()
            done = [item for item, state in states if state.get("status") == "synced"]
            return len(done) - there[kind.collection].count_documents({"_id": {"$in": done}})

        def count() -> int:
            return sum(unknown(kind) for kind in MEDIA_TYPES.values())

        stage.wait(lambda: count() >= _UNKNOWN, "published items that it lacks", every=1)
        code, output, error = run(["audit", "--repair", "--force", "--yes"], stage.fleet.environ)
        assert code in {0, 1}, output + error


def refuse_thumbnails(stage: Stage) -> None:
    """Let MongoDB refuse every write to the thumbnail cache, by a rule that nothing fulfils."""
    database = stage.platform.database
    database.command("collMod", COLLECTION, validator=_NEVER, validationLevel="strict")
    try:
        _wait_for_paintings(stage, database[COLLECTION])
    finally:
        database.command("collMod", COLLECTION, validator={})


def _failures(events: Events) -> int:
    """Count the tasks that were retried or failed because MongoDB was away."""
    errors = (str(event.get("exception", "")) for event in events)
    return sum(error.startswith(StoreUnavailableError.__name__) for error in errors)


def _election(admin: Database[RawDocument]) -> object:
    """Return the id of the election that made the server primary; None if it is not primary."""
    return admin.command("hello").get("electionId")


def _wait_for_paintings(stage: Stage, cache: Collection[RawDocument]) -> None:
    """Wait until new paintings are published whose thumbnails the cache does not have."""
    kept, before = set(cache.distinct("_id")), set(stage.stream.items)

    def published() -> int:
        states = stage.platform.states("painting").items()
        return sum(item not in before and state.get("status") == "synced" for item, state in states)

    stage.wait(lambda: published() >= _PAINTINGS, "paintings to be published without the cache")
    assert set(cache.distinct("_id")) <= kept, "the cache took thumbnails in"
