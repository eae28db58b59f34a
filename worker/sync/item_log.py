"""Log the outcome of each sync, and count it in the metrics."""

from __future__ import annotations

import logging

from worker.core.clock import rfc3339
from worker.core.documents import Status
from worker.sync.outcome import Outcome
from worker.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class ItemLog:
    """Ignores outcomes; for commands and tests, which use the returned `Outcome`."""

    def record(self, outcome: Outcome) -> None:
        """Record an outcome; implementations must neither raise errors nor block."""


class StructuredItemLog(ItemLog):
    """Logs outcomes and counts them in metrics; `workload` is `live` or `bulk`."""

    def __init__(self, metrics: Metrics, workload: str) -> None:
        self._metrics = metrics
        self._workload = workload

    def record(self, outcome: Outcome) -> None:
        self._count(outcome)
        is_bad = outcome.status is Status.FAILED or not outcome.found
        level = logging.WARNING if is_bad else logging.INFO
        log.log(level, "item %s", outcome.name, extra=_fields(outcome, self._workload))

    def _count(self, outcome: Outcome) -> None:
        type_name, metrics = outcome.item.type, self._metrics
        metrics.count_run(type_name, outcome.name, self._workload)
        if outcome.since_save is not None:
            metrics.observe_publication(type_name, self._workload, outcome.since_save)
        if outcome.error is None:
            return
        if outcome.status is Status.PENDING or outcome.retry_at is not None:
            metrics.count_retry(type_name, outcome.error.code)
        elif outcome.status in {Status.FAILED, Status.PARTIAL}:
            metrics.count_failure(type_name, outcome.error.code)


def _fields(outcome: Outcome, workload: str) -> dict[str, object]:
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
        "lane": workload,
    }
    return {name: value for name, value in fields.items() if value is not None}


NULL_ITEM_LOG = ItemLog()
