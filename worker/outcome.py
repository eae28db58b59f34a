"""How a sync ended, for whoever asked: a task, the terminal, a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from worker.clock import now
from worker.documents import Failure, ItemRef, Status, SyncState
from worker.removal import Report
from worker.store import NotNow


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a sync ended.

    `status` is what the document says now, or what became of the record of a deleted one;
    None when there was nothing to do, or not by this run. `detail` says it in words. With
    `again` the message should be delivered once more, soon. Without `found` there is no item that
    could have been meant.
    """

    item: str
    status: Status | None
    detail: str
    retry_at: datetime | None = None
    error: Failure | None = None
    again: bool = False
    found: bool = True

    @property
    def is_given_up(self) -> bool:
        """Tell whether a person must look before this item can be published."""
        return self.status is Status.FAILED

    @property
    def seconds_to_retry(self) -> float | None:
        """Return how long until this run's item is due again, None when it is not this run's."""
        if self.status is None or self.retry_at is None:
            return None
        return (self.retry_at - now()).total_seconds()

    @classmethod
    def of_state(cls, ref: ItemRef, state: SyncState) -> Self:
        """Describe an item by the state that its run left."""
        detail = state.error.message if state.error else (state.reason or state.uri or "")
        return cls(str(ref), state.status, detail, state.retry_at, state.error)

    @classmethod
    def of_removal(cls, item: str, report: Report) -> Self:
        """Describe what became of the record of a deleted document."""
        return cls(
            item=item,
            status=report.status,
            detail=report.detail,
            retry_at=report.retry_at,
            error=report.error,
            found=report.found,
        )

    @classmethod
    def not_now(cls, ref: ItemRef, told: NotNow) -> Self:
        """Describe an item that this run had to leave alone."""
        why = "another run is at work on it" if told.busy else "it is to be left alone until then"
        return cls(str(ref), None, why, retry_at=told.until)
