"""Collect the outcomes and the unexpected errors of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import now
from worker.core.documents import DocumentId, Failure, ItemRef, Status
from worker.core.errors import MediaError, UnexpectedError
from worker.core.ids import InvalidIdError, parse_id
from worker.database.mongo import StateNotSavedError
from worker.database.store import ContendedError, DocumentStore
from worker.media import MediaType
from worker.sync.item_log import ItemLog
from worker.sync.outcome import Outcome
from worker.telemetry.alerts import AffectedItem, Alerts

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The outcomes of a batch, as pairs of a requested id and its outcome."""

    outcomes: Sequence[tuple[DocumentId, Outcome]]

    def due_within(self, seconds: float) -> tuple[list[DocumentId], float]:
        """Return the ids of items due within `seconds`, and the delay until all are due.

        Items with the status `partial` are excluded, because the sweep retries them.
        """
        waits = {
            raw: 1.0 if outcome.again else max(outcome.seconds_to_retry or 0.0, 0.0)
            for raw, outcome in self.outcomes
            if outcome.again or _is_waiting(outcome, seconds)
        }
        return list(waits), max(waits.values(), default=0.0)

    @property
    def waits(self) -> bool:
        """Return whether any synced item has a retry time."""
        return any(outcome.seconds_to_retry is not None for _, outcome in self.outcomes)

    @property
    def given_up(self) -> str | None:
        """Return a text that describes the failed items; None if no item failed."""
        failed = [outcome for _, outcome in self.outcomes if outcome.is_given_up]
        if not failed:
            return None
        named = "; ".join(f"{outcome.item}: {outcome.detail}" for outcome in failed[:_MAX_NAMED])
        more = f"; and {len(failed) - _MAX_NAMED} more" if len(failed) > _MAX_NAMED else ""
        return f"{len(failed)} of {len(self.outcomes)} failed: {named}{more}"

    @property
    def summary(self) -> str:
        """Return the number of items per status, as text."""
        counts = Counter(outcome.name for _, outcome in self.outcomes)
        return ", ".join(f"{number} {status}" for status, number in counts.most_common())


def _is_waiting(outcome: Outcome, seconds: float) -> bool:
    wait = outcome.seconds_to_retry
    return outcome.status is Status.PENDING and wait is not None and wait <= seconds


@dataclass(slots=True)
class UnexpectedErrors:
    """Collects the unexpected errors of a batch; `Engine` saves them on documents."""

    store: DocumentStore
    kind: MediaType
    alerts: Alerts
    item_log: ItemLog
    _met: list[Exception] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self._met)

    def add(self, bug: Exception) -> None:
        """Keep an unexpected error for `raise_all`."""
        self._met.append(bug)

    def outcome(self, raw: DocumentId, sync: Callable[[], Outcome]) -> Outcome:
        """Call `sync` for one item; return its outcome, or an outcome for its error.

        An unexpected error is kept for `raise_all`; the outcome then shows the saved state. An
        InvalidIdError or StateNotSavedError gives the status `failed`, a ContendedError gives none.
        Raises any other MediaError, and SoftTimeLimitExceeded.
        """
        item = ItemRef(self.kind.name, ascii(raw)[:60])
        try:
            return sync()
        except (InvalidIdError, StateNotSavedError) as error:
            failure = Failure.of(error, now())
            self.alerts.item_failed(AffectedItem(item.type, str(item.id), None, 1), failure)
            return self._log_outcome(Outcome(item, Status.FAILED, error.message, error=failure))
        except ContendedError as error:
            return self._log_outcome(Outcome(item, None, error.message))
        except (MediaError, SoftTimeLimitExceeded):
            raise
        except Exception as bug:  # noqa: BLE001
            # Any exception: a bug with one item must not stop the others. `Engine` has saved it on
            # the document, and `raise_all` raises it at the end of the batch.
            self._met.append(bug)
            return self._saved_outcome(item, raw, bug)

    def _saved_outcome(self, item: ItemRef, raw: DocumentId, bug: Exception) -> Outcome:
        try:
            document = self.store.find(self.kind, parse_id(raw))
        except MediaError:
            raise
        except Exception:  # noqa: BLE001 - the document cannot be parsed, which caused `bug`
            error = UnexpectedError.of(bug)
            failure = Failure.of(error, now())
            return Outcome(item, Status.FAILED, error.message, error=failure)
        if document is None:
            return Outcome(item, None, "its document is gone")
        return Outcome.of_state(document.ref, document.state)

    def _log_outcome(self, outcome: Outcome) -> Outcome:
        self.item_log.record(outcome)
        return outcome

    def raise_all(self, subject: str) -> None:
        if self._met:
            message = f"unexpected errors with {self.kind.name}s of {subject}"
            raise ExceptionGroup(message, self._met)
