"""A MongoDB that dies, steps down, or does not take thumbnails in."""

from __future__ import annotations

from contextlib import suppress

from pymongo.errors import AutoReconnect

from tests.faults.stage import Stage
from worker.thumbnail_cache import COLLECTION

_STEPPED_DOWN_SECONDS = 5
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
    admin = stage.platform.database.client.admin
    with suppress(AutoReconnect):  # older servers hang up on everybody
        admin.command("replSetStepDown", _STEPPED_DOWN_SECONDS, force=True)
    assert not admin.command("hello")["isWritablePrimary"], "it did not step down"
    stage.wait(lambda: admin.command("hello")["isWritablePrimary"], "an election")


def refuse_thumbnails(stage: Stage) -> None:
    """Let MongoDB refuse every write to the thumbnail cache, by a rule that nothing fulfils."""
    database = stage.platform.database
    before = stage.fleet.logged("was not kept")
    database.command("collMod", COLLECTION, validator=_NEVER, validationLevel="strict")
    try:
        stage.wait(lambda: stage.fleet.logged("was not kept") >= before + 3, "refused writes")
    finally:
        database.command("collMod", COLLECTION, validator={})
