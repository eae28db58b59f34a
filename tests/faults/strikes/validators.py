"""A schema validator that does not take what the engine saves on some documents."""

from __future__ import annotations

from contextlib import ExitStack

from tests.faults import expected
from tests.faults.stage import Stage
from worker.media import MEDIA_TYPES

_FEW, _REJECTED = 5, 3
# Ids end with the digits of a counter, so that this is every second document.
_LAST_DIGIT = {"$substrBytes": [{"$toString": "$_id"}, 23, 1]}
_IS_LUCKY = {"$in": [_LAST_DIGIT, list("13579bdf")]}
_HAS_NO_STATE = {"$eq": [{"$type": "$atproto"}, "missing"]}
_RULE = {"$expr": {"$or": [_IS_LUCKY, _HAS_NO_STATE]}}


def reject_states(stage: Stage) -> None:
    """Let MongoDB reject any state of every second new document until its neighbours are right."""
    database = stage.platform.database
    with ExitStack() as undo:
        for kind in MEDIA_TYPES.values():
            # Documents that have a state already are not checked.
            moderate = {"validator": _RULE, "validationLevel": "moderate"}
            database.command("collMod", kind.collection, **moderate)
            off = {"validator": {}, "validationLevel": "strict"}
            undo.callback(database.command, "collMod", kind.collection, **off)
        before, seen = set(stage.stream.items), _rejections(stage)
        stage.wait(lambda: _new_and_right(stage, before) >= _FEW, "new items to be published")
        stage.wait(lambda: _rejections(stage) >= seen + _REJECTED, "documents to be rejected")


def _new_and_right(stage: Stage, before: set[object]) -> int:
    """Count the items that were saved since then and are published."""
    return sum(
        item not in before and state.get("status") == "synced"
        for name in expected.TYPES
        for item, state in stage.platform.states(name).items()
    )


def _rejections(stage: Stage) -> int:
    """Count what the workers have logged of rejected documents."""
    return sum(worker.text.count("document_rejected") for worker in stage.fleet.workers)
