"""One line in the log for each item that a run has ended, and its figures."""

from __future__ import annotations

import logging

from worker.core.clock import rfc3339
from worker.core.documents import Status
from worker.sync.outcome import Outcome
from worker.telemetry.metrics import Recorder

log = logging.getLogger(__name__)


class Journal:
    """Keeps nothing: for a terminal or a test, where whoever asked gets the outcome anyway."""

    def ended(self, outcome: Outcome) -> None:
        """Note how a run over an item has ended; neither raises nor waits."""


class LoggedJournal(Journal):
    """A journal in the log, counted as it is kept. `lane` says for whom: saves, or all else."""

    def __init__(self, recorder: Recorder, lane: str) -> None:
        self._recorder = recorder
        self._lane = lane

    def ended(self, outcome: Outcome) -> None:
        """Log a line and count."""
        self._count(outcome)
        is_bad = outcome.status is Status.FAILED or not outcome.found
        level = logging.WARNING if is_bad else logging.INFO
        log.log(level, "item %s", outcome.name, extra=_fields(outcome, self._lane))

    def _count(self, outcome: Outcome) -> None:
        type_name, recorder = outcome.item.type, self._recorder
        recorder.item(type_name, outcome.name, self._lane)
        if outcome.since_save is not None:
            recorder.published(type_name, self._lane, outcome.since_save)
        if outcome.error and outcome.status is Status.PENDING:
            recorder.retry(type_name, outcome.error.code)
        if outcome.error and outcome.status in {Status.FAILED, Status.PARTIAL}:
            recorder.failure(type_name, outcome.error.code)


def _fields(outcome: Outcome, lane: str) -> dict[str, object]:
    error = outcome.error
    fields: dict[str, object | None] = {
        "type": outcome.item.type,
        "id": str(outcome.item.id),
        "outcome": outcome.name,
        "detail": outcome.detail or None,
        "step": error.step if error else None,
        "code": error.code if error else None,
        "retry_at": rfc3339(outcome.retry_at) if outcome.retry_at else None,
        "attempt": outcome.attempt,
        "did": outcome.did,
        "since_save": None if outcome.since_save is None else round(outcome.since_save, 3),
        "lane": lane,
    }
    return {name: value for name, value in fields.items() if value is not None}


UNKEPT = Journal()
