"""The outcome of a sync, returned to tasks, commands and tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from bson import ObjectId

from worker.core.clock import now
from worker.core.documents import Failure, ItemRef, MediaDocument, Status, SyncState
from worker.core.fields import FieldError
from worker.database.store import Busy

LEFT = "left"  # another run has the item, or it is not due


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of syncing one item.

    `status` is the document's new status, or the result of removing a deleted document's record.
    It is None if this run did not process the item. `detail` is a description. `again` requests
    that the message is delivered again soon. `found` is False if the item does not exist.
    `since_save` is the number of seconds from the save to the first publication; it is None if
    this run was not the first to publish the item.
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
        """Return the status as text, or `left` if it is None."""
        return str(self.status or LEFT)

    @property
    def is_given_up(self) -> bool:
        return self.status is Status.FAILED

    @property
    def seconds_to_retry(self) -> float | None:
        """Return the seconds until the next retry; None without a status or retry time."""
        if self.status is None or self.retry_at is None:
            return None
        return (self.retry_at - now()).total_seconds()

    @classmethod
    def of_state(cls, ref: ItemRef, state: SyncState) -> Self:
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
        """Build the outcome of a run that changed the document `before` to `state`."""
        return replace(cls.of_state(before.ref, state), since_save=_since_save(before, state))

    @classmethod
    def of_busy(cls, ref: ItemRef, busy: Busy) -> Self:
        why = "another run is at work on it" if busy.is_held else "it must wait until then"
        return cls(ref, None, why, retry_at=busy.until)


def _since_save(before: MediaDocument, state: SyncState) -> float | None:
    """Return the seconds from the save to the first publication; None for later ones."""
    if before.state.synced_at or state.published_at is None:
        return None  # published before, or by an older program
    saved = _saved_at(before)
    return max((state.published_at - saved).total_seconds(), 0.0) if saved else None


def _saved_at(document: MediaDocument) -> datetime | None:
    """Return when a document was saved, from its ObjectId or its field `when`."""
    try:
        when = document.fields.moment("when")
    except FieldError:
        when = None
    if not isinstance(document.ref.id, ObjectId):
        return when
    created = document.ref.id.generation_time
    is_same_second = when is not None and 0 <= (when - created).total_seconds() < 1
    return when if is_same_second else created
