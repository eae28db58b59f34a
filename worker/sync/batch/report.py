"""The result of a batch, and its unexpected errors, which are raised at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import now
from worker.core.documents import DocumentId, Failure, ItemRef, Status
from worker.core.errors import MediaError
from worker.core.ids import InvalidIdError, parse_id
from worker.database.mongo import DocumentFullError
from worker.database.store import ContendedError, DocumentStore
from worker.media import MediaType
from worker.sync.item_log import ItemLog
from worker.sync.outcome import Outcome
from worker.telemetry.alerts import AffectedItem, Alerts

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The outcome of each item of a batch, with its id in the request."""

    outcomes: Sequence[tuple[DocumentId, Outcome]]

    def due_within(self, seconds: float) -> tuple[list[DocumentId], float]:
        """Return the items due within so many seconds, and the time until all are.

        Partial items, which are published but for a file, are left to the sweep.
        """
        waits = {
            raw: 1.0 if outcome.again else max(outcome.seconds_to_retry or 0.0, 0.0)
            for raw, outcome in self.outcomes
            if outcome.again or _is_waiting(outcome, seconds)
        }
        return list(waits), max(waits.values(), default=0.0)

    @property
    def waits(self) -> bool:
        """Return whether the sweep will retry an item."""
        return any(outcome.seconds_to_retry is not None for _, outcome in self.outcomes)

    @property
    def given_up(self) -> str | None:
        """Return a text that names the failed items, None if there are none."""
        failed = [outcome for _, outcome in self.outcomes if outcome.is_given_up]
        if not failed:
            return None
        named = "; ".join(f"{outcome.item}: {outcome.detail}" for outcome in failed[:_MAX_NAMED])
        more = f"; and {len(failed) - _MAX_NAMED} more" if len(failed) > _MAX_NAMED else ""
        return f"{len(failed)} of {len(self.outcomes)} failed: {named}{more}"

    @property
    def summary(self) -> str:
        """Return the number of items with each status, as text."""
        counts = Counter(outcome.name for _, outcome in self.outcomes)
        return ", ".join(f"{number} {status}" for status, number in counts.most_common())


def _is_waiting(outcome: Outcome, seconds: float) -> bool:
    wait = outcome.seconds_to_retry
    return outcome.status is Status.PENDING and wait is not None and wait <= seconds


@dataclass(slots=True)
class UnexpectedErrors:
    """The unexpected errors of a batch; each has been saved on its document."""

    store: DocumentStore
    kind: MediaType
    alerts: Alerts
    item_log: ItemLog
    _met: list[Exception] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self._met)

    def outcome(self, raw: DocumentId, sync: Callable[[], Outcome]) -> Outcome:
        """Return the outcome of `sync`, a call that syncs one item.

        An unexpected error is kept; the outcome is then the state on the document. An item with
        an invalid id, or a document with no room for its state, has failed; one that runs contend
        for is skipped. Other expected errors are raised.
        """
        item = ItemRef(self.kind.name, ascii(raw)[:60])
        try:
            return sync()
        except (InvalidIdError, DocumentFullError) as error:
            failure = Failure.of(error, now())
            self.alerts.item_failed(AffectedItem(item.type, str(item.id), None, 1), failure)
            return self._log_outcome(Outcome(item, Status.FAILED, error.message, error=failure))
        except ContendedError as error:
            return self._log_outcome(Outcome(item, None, error.message))
        except (MediaError, SoftTimeLimitExceeded):
            raise
        except Exception as bug:  # noqa: BLE001 - raised by `raise_all`
            self._met.append(bug)
        document = self.store.find(self.kind, parse_id(raw))
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
