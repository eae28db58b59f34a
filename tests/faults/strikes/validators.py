"""A schema validator that does not take what the engine saves on some documents."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager

from tests.faults import expected
from tests.faults.stage import Stage
from tests.terminal import run
from worker.media import MEDIA_TYPES

_FEW, _REJECTED = 5, 3
# Ids end with the digits of a counter, so that this is every second document.
_LAST_DIGIT = {"$substrBytes": [{"$toString": "$_id"}, 23, 1]}
_IS_LUCKY = {"$in": [_LAST_DIGIT, list("13579bdf")]}
_HAS_NO_STATE = {"$eq": [{"$type": "$atproto"}, "missing"]}
_RULE = {"$expr": {"$or": [_IS_LUCKY, _HAS_NO_STATE]}}


def reject_states(stage: Stage) -> None:
    """Let MongoDB reject any state of every second new document until its neighbours are right.

    Then the sweep finds those without a state. A failure that was saved when the rule had just gone
    is left to the operator.
    """
    before, seen = set(stage.stream.items), _rejections(stage)
    with _rule(stage):
        stage.wait(lambda: _new_and_right(stage, before) >= _FEW, "new items to be published")
        stage.wait(lambda: _rejections(stage) >= seen + _REJECTED, "documents to be rejected")
    unseen = _without_state(stage)
    stage.wait(lambda: not unseen & _without_state(stage), "the rejected documents to be found")
    code, output, error = run(["retry", "--reason", "document_rejected"], stage.environ)
    assert code == 0, f"{output}{error}"


@contextmanager
def _rule(stage: Stage) -> Iterator[None]:
    """Check the documents of all types by the rule, but for those that have a state already."""
    command, names = stage.platform.database.command, [k.collection for k in MEDIA_TYPES.values()]
    try:
        for name in names:
            command("collMod", name, validator=_RULE, validationLevel="moderate")
        yield
    finally:
        for name in names:
            command("collMod", name, validator={}, validationLevel="strict")


def _without_state(stage: Stage) -> set[object]:
    """Return the documents that no run has saved anything on."""
    states = (stage.platform.states(name) for name in expected.TYPES)
    return {item for each in states for item, state in each.items() if "status" not in state}


def _new_and_right(stage: Stage, before: Container[object]) -> int:
    """Count the items that were saved since then and are published."""
    return sum(
        item not in before and state.get("status") == "synced"
        for name in expected.TYPES
        for item, state in stage.platform.states(name).items()
    )


def _rejections(stage: Stage) -> int:
    """Count what the workers have logged of rejected documents."""
    return sum(worker.text.count("document_rejected") for worker in stage.fleet.workers)
