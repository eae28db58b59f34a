"""The result of a batch: items to retry soon, items that failed for good, unexpected errors.

Unexpected errors are collected, and raised as a group once the rest of the batch is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """The outcome of each item of a batch, by the id that it was asked for."""

    outcomes: Sequence[tuple[DocumentId, Outcome]]

    def due_within(self, seconds: float) -> tuple[list[DocumentId], float]:
        """Return the items that are due again so soon, and how long until all of them are.

        What is published but for a file is left to the sweep: nobody should wait for a file.
        """
        waits = {
            raw: 1.0 if outcome.again else max(outcome.seconds_to_retry or 0.0, 0.0)
            for raw, outcome in self.outcomes
            if outcome.again or _is_waiting(outcome, seconds)
        }
        return list(waits), max(waits.values(), default=0.0)

    @property
    def waits(self) -> bool:
        """Tell whether an item is to be tried again by a sweep."""
        return any(outcome.seconds_to_retry is not None for _, outcome in self.outcomes)

    @property
    def given_up(self) -> str | None:
        """Name the items that a person must look at; None when there are none."""
        failed = [outcome for _, outcome in self.outcomes if outcome.is_given_up]
        if not failed:
            return None
        named = "; ".join(f"{outcome.item}: {outcome.detail}" for outcome in failed[:_MAX_NAMED])
        more = f"; and {len(failed) - _MAX_NAMED} more" if len(failed) > _MAX_NAMED else ""
        return f"{len(failed)} of {len(self.outcomes)} given up: {named}{more}"

    @property
    def summary(self) -> str:
        """Say in a few words how the items ended."""
        counts = Counter(str(outcome.status or "left") for _, outcome in self.outcomes)
        return ", ".join(f"{number} {status}" for status, number in counts.most_common())


def _is_waiting(outcome: Outcome, seconds: float) -> bool:
    wait = outcome.seconds_to_retry
    return outcome.status is Status.PENDING and wait is not None and wait <= seconds


class UnexpectedErrors:
    """Unexpected errors met in a batch; each is on its document already."""

    def __init__(
        self, store: DocumentStore, kind: MediaType, alerts: Alerts, item_log: ItemLog
    ) -> None:
        self._store = store
        self._alerts = alerts
        self._item_log = item_log
        self._kind = kind
        self._met: list[Exception] = []

    def __bool__(self) -> bool:
        return bool(self._met)

    def outcome(self, raw: DocumentId, sync: Callable[[], Outcome]) -> Outcome:
        """Return the outcome of an item's own sync.

        After an unexpected error, which is kept, that is what the document says; an id that no
        document can have, or a document on which nothing can be noted, is given up; one that
        changes all the time is left alone. Other expected errors pass.
        """
        item = ItemRef(self._kind.name, ascii(raw)[:60])
        try:
            return sync()
        except (InvalidIdError, DocumentFullError) as error:
            failure = Failure.of(error, now())
            self._alerts.item_failed(AffectedItem(item.type, str(item.id), None, 1), failure)
            return self._log_outcome(Outcome(item, Status.FAILED, error.message, error=failure))
        except ContendedError as error:
            return self._log_outcome(Outcome(item, None, error.message))
        except (MediaError, SoftTimeLimitExceeded):
            raise
        except Exception as bug:  # noqa: BLE001 - raised by `raise_all`
            self._met.append(bug)
        document = self._store.find(self._kind, parse_id(raw))
        if document is None:
            return Outcome(item, None, "its document is gone")
        return Outcome.of_state(document.ref, document.state)

    def _log_outcome(self, outcome: Outcome) -> Outcome:
        self._item_log.record(outcome)
        return outcome

    def raise_all(self, subject: str) -> None:
        """Raise an ExceptionGroup of all that were met, if any."""
        if self._met:
            message = f"unexpected errors with {self._kind.name}s of {subject}"
            raise ExceptionGroup(message, self._met)
