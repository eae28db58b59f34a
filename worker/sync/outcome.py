"""How a sync ended, for whoever asked: a task, the terminal, a test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from bson import ObjectId

from worker.core.clock import now
from worker.core.documents import Failure, ItemRef, MediaDocument, Status, SyncState
from worker.core.fields import FieldError
from worker.database.store import Busy
from worker.sync.removal import RemovalResult

LEFT = "left"  # not this run's to publish, or not now


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a sync ended.

    `status` is what the document says now, or what became of the record of a deleted one;
    None when there was nothing to do, or not by this run. `detail` says it in words. With
    `again` the message should be delivered once more, soon. Without `found` there is no item that
    could have been meant. `since_save` is how many seconds after its save the item's record was
    up for the first time, None if that was not now.
    """

    item: ItemRef
    status: Status | None
    detail: str
    retry_at: datetime | None = None
    error: Failure | None = None
    again: bool = False
    found: bool = True
    did: str | None = None
    attempt: int | None = None
    since_save: float | None = None

    @property
    def name(self) -> str:
        """Return the status, or what it is called when there is none."""
        return str(self.status or LEFT)

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
        return cls(
            item=ref,
            status=state.status,
            detail=detail,
            retry_at=state.retry_at,
            error=state.error,
            did=state.repo,
            attempt=state.attempts,
        )

    @classmethod
    def of_document(cls, before: MediaDocument, state: SyncState) -> Self:
        """Describe an item by what a run has made of it."""
        since = _since_save(before, state)
        return replace(cls.of_state(before.ref, state), since_save=since)

    @classmethod
    def of_removal(cls, item: ItemRef, report: RemovalResult) -> Self:
        """Describe what became of the record of a deleted document."""
        return cls(
            item=item,
            status=report.status,
            detail=report.detail,
            retry_at=report.retry_at,
            error=report.error,
            found=report.found,
            did=report.did,
            attempt=report.attempts or None,
        )

    @classmethod
    def of_busy(cls, ref: ItemRef, told: Busy) -> Self:
        """Describe an item that this run had to leave alone."""
        why = (
            "another run is at work on it" if told.is_held else "it is to be left alone until then"
        )
        return cls(ref, None, why, retry_at=told.until)


def _since_save(before: MediaDocument, state: SyncState) -> float | None:
    """Return how long after its save a record was up for the first time, in seconds."""
    if before.state.synced_at or state.synced_at is None or state.uri is None:
        return None
    saved = _saved_at(before)
    return max((state.synced_at - saved).total_seconds(), 0.0) if saved else None


def _saved_at(document: MediaDocument) -> datetime | None:
    """Return when a document was saved: an ObjectId knows the second, `when` perhaps the rest."""
    try:
        said = document.fields.moment("when")
    except FieldError:
        said = None
    if not isinstance(document.ref.id, ObjectId):
        return said
    made = document.ref.id.generation_time
    is_of_that_second = said is not None and 0 <= (said - made).total_seconds() < 1
    return said if is_of_that_second else made
