"""What nobody expected of one item: kept until its neighbours are done, then raised."""

from __future__ import annotations

from collections.abc import Callable

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import now
from worker.core.documents import DocumentId, Failure, ItemRef, Status
from worker.core.errors import MediaError
from worker.core.ids import InvalidIdError, parse_id
from worker.database.mongo import DocumentFullError
from worker.database.store import ContendedError, Store
from worker.media import MediaType
from worker.sync.item_log import Journal
from worker.sync.outcome import Outcome
from worker.telemetry.alerts import Affected, Reporter


class Bugs:
    """Unexpected errors met in a batch; each is on its document already."""

    def __init__(self, store: Store, kind: MediaType, reporter: Reporter, journal: Journal) -> None:
        self._store = store
        self._reporter = reporter
        self._journal = journal
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
            self._reporter.given_up(Affected(item.type, str(item.id), None, 1), failure)
            return self._told(Outcome(item, Status.FAILED, error.message, error=failure))
        except ContendedError as error:
            return self._told(Outcome(item, None, error.message))
        except (MediaError, SoftTimeLimitExceeded):
            raise
        except Exception as bug:  # noqa: BLE001 - raised by `tell`
            self._met.append(bug)
        document = self._store.find(self._kind, parse_id(raw))
        if document is None:
            return Outcome(item, None, "its document is gone")
        return Outcome.of_state(document.ref, document.state)

    def _told(self, outcome: Outcome) -> Outcome:
        self._journal.ended(outcome)
        return outcome

    def tell(self, whose: str) -> None:
        """Raise an ExceptionGroup of all that were met, if any."""
        if self._met:
            message = f"unexpected errors with {self._kind.name}s of {whose}"
            raise ExceptionGroup(message, self._met)
