"""A MongoDB that dies, steps down, or does not take thumbnails in."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from tests.faults.stage import Stage
from worker.mongo import RawDocument
from worker.thumbnail_cache import COLLECTION

_STEPPED_DOWN_SECONDS = 5
_AT_ONCE: dict[str, Any] = {"secondaryCatchUpPeriodSecs": 0, "force": True}
_NEVER = {"never": {"$exists": True}}


def kill(stage: Stage) -> None:
    """Kill -9 mongod, and start it when tasks have failed for it."""
    before = stage.fleet.logged("MongoDB did not carry out")
    stage.stack.mongod.kill()
    stage.wait(
        lambda: stage.fleet.logged("MongoDB did not carry out") > before, "tasks to fail for it"
    )
    stage.stack.mongod.start()


def step_down(stage: Stage) -> None:
    """Let the primary step down; with nobody else there, it is elected again after a while."""
    url = stage.environ["MONGODB_CONNECTION_STRING"]
    with MongoClient[RawDocument](url, directConnection=True) as direct:
        admin = direct.admin
        admin.command("replSetStepDown", _STEPPED_DOWN_SECONDS, **_AT_ONCE)
        assert not _is_primary(admin), "it did not step down"
        stage.wait(lambda: _is_primary(admin), "an election")


def refuse_thumbnails(stage: Stage) -> None:
    """Let MongoDB refuse every write to the thumbnail cache, by a rule that nothing fulfils."""
    database = stage.platform.database
    before = stage.fleet.logged("was not kept")
    database.command("collMod", COLLECTION, validator=_NEVER, validationLevel="strict")
    try:
        stage.wait(lambda: stage.fleet.logged("was not kept") >= before + 3, "refused writes")
    finally:
        database.command("collMod", COLLECTION, validator={})


def _is_primary(admin: Database[RawDocument]) -> bool:
    return bool(admin.command("hello")["isWritablePrimary"])
