"""Sync a batch of one account's documents, with shared calls for each step.

Only simple documents share calls (see `_is_simple`). `Engine` syncs all others one by one. It also
syncs simple documents again after a rejected write or an unexpected error, so that one invalid
item does not fail the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import after, now
from worker.core.documents import Account, DocumentId, Failure, ItemRef, Status
from worker.core.errors import (
    MediaError,
    PermanentError,
    TimeLimitError,
    UnexpectedError,
    WaitError,
)
from worker.core.ids import candidate_ids
from worker.core.settings import RetrySettings
from worker.database.accounts import Accounts
from worker.database.batch_store import BatchStore, LoadedDocument
from worker.database.leases import message_of, not_before
from worker.database.mongo import StoreUnavailableError
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.pds.repo import Repo
from worker.sync.adoption import Adoption
from worker.sync.batch.progress import ProgressTracker
from worker.sync.batch.publisher import BatchPublisher
from worker.sync.batch.records import BatchFiles, capture_errors
from worker.sync.batch.report import BatchReport, UnexpectedErrors
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.batch.writer import Writer
from worker.sync.engine import Engine
from worker.sync.existing_records import is_legacy
from worker.sync.item_log import ItemLog
from worker.sync.outcome import Outcome
from worker.sync.plan import Publish, plan
from worker.sync.publisher import Publisher
from worker.sync.retry import backoff
from worker.telemetry.alerts import Alerts


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A request to sync documents of one type and one owner, `subject`.

    `holder` names the queue message or operator that requested the sync. `backfill` is the name of
    a backfill; its first batch for a repo adopts existing records. `only_if_due` skips items that
    are not due. `tries` counts the deliveries of the message, with this one.
    """

    kind: MediaType
    subject: str
    ids: Sequence[DocumentId]
    holder: str
    backfill: str | None = None
    only_if_due: bool = False
    tries: int = 1


@dataclass(frozen=True, slots=True)
class BatchEngine:
    """Syncs batches of documents."""

    engine: Engine
    publisher: Publisher
    store: DocumentStore
    batch_store: BatchStore
    accounts: Accounts
    adoption: Adoption
    writer: Writer
    throttle: BulkThrottle
    batch_files: BatchFiles
    progress: ProgressTracker
    open_repo: Callable[[Account], Repo]
    retry: RetrySettings
    alerts: Alerts
    item_log: ItemLog

    def sync_reporting(self, request: BatchRequest, *, max_wait: float) -> BatchReport:
        """Sync a batch, and report its progress if it belongs to a backfill.

        Items due within `max_wait` seconds are reported later, unless an unexpected error occurred.
        Items that cannot be processed now are postponed: the reason, and the time at which the
        sweep enqueues them, are saved on their documents. Raises StoreUnavailableError; unexpected
        errors are raised at the end, as an ExceptionGroup.
        """
        unexpected = UnexpectedErrors(self.store, request.kind, self.alerts, self.item_log)
        outcomes = self._sync(request, unexpected)
        report = BatchReport(tuple(zip(request.ids, outcomes, strict=True)))
        if request.backfill:
            # A message with unexpected errors is not delivered again.
            again = set() if unexpected else set(report.due_within(max_wait)[0])
            ended = [outcome for raw, outcome in report.outcomes if raw not in again]
            message, name = message_of(request.holder), request.kind.name
            self.progress.report(request.backfill, message, name, ended, done=not again)
        unexpected.raise_all(request.subject)
        return report

    def sync(self, request: BatchRequest) -> list[Outcome]:
        """Sync a batch like `sync_reporting`; return an outcome for each id, in order."""
        return [outcome for _, outcome in self.sync_reporting(request, max_wait=0).outcomes]

    def _sync(self, request: BatchRequest, unexpected: UnexpectedErrors) -> list[Outcome]:
        outcomes: dict[DocumentId, Outcome] = {}
        try:
            self._process(request, outcomes, unexpected)
        except StoreUnavailableError:
            raise
        except SoftTimeLimitExceeded:
            self._postpone(request, outcomes, TimeLimitError.of("batch"))
        except MediaError as error:
            self._postpone(request, outcomes, error)
        except Exception as bug:  # noqa: BLE001
            # Any other exception, for example while the repo is read, is raised at the end of the
            # batch. `Engine` repeats the calls, and counts attempts.
            unexpected.add(bug)
            self._postpone(request, outcomes, UnexpectedError.of(bug))
        return [outcomes[raw] for raw in request.ids]

    def _process(
        self,
        request: BatchRequest,
        outcomes: dict[DocumentId, Outcome],
        unexpected: UnexpectedErrors,
    ) -> None:
        """Add the outcome of each item to `outcomes`; raises errors that concern all others."""
        if account := self.accounts.find(request.subject):
            outcomes |= self._publish(request, account, unexpected)
        _check_time(outcomes.values())
        for raw in request.ids:
            if raw not in outcomes:
                outcomes[raw] = unexpected.outcome(raw, partial(self._sync_alone, request, raw))
                _check_time([outcomes[raw]])

    def _postpone(
        self, request: BatchRequest, outcomes: dict[DocumentId, Outcome], error: MediaError
    ) -> None:
        """Postpone the items without an outcome: save it on their documents, add their outcomes."""
        rest = [raw for raw in request.ids if raw not in outcomes]
        wait = backoff(request.tries, self.retry)
        until = error.until if isinstance(error, WaitError) else after(wait)
        failure = Failure.of(error, now())
        self.batch_store.postpone(request.kind, rest, failure, until)
        for raw, loaded in zip(rest, self.batch_store.read(request.kind, rest), strict=True):
            # A missing document cannot save this, and its record may remain.
            if loaded is None and candidate_ids(raw):
                self.engine.remover.expect(request.kind, raw, request.subject)
        for raw in rest:
            item = ItemRef(request.kind.name, raw)
            outcome = Outcome(item, Status.PENDING, error.message, retry_at=until, error=failure)
            self.item_log.record(outcome)
            outcomes[raw] = outcome

    def _publish(
        self, request: BatchRequest, account: Account, unexpected: UnexpectedErrors
    ) -> dict[DocumentId, Outcome]:
        """Publish the simple documents; return their outcomes by requested id."""
        is_adopted = self._adopt(request, self.open_repo(account), account)
        # Adoption may take long: the account may have changed or moved since. After a move, claimed
        # documents are marked to run again, so the new PDS is looked up after the claim.
        current = self.accounts.find(request.subject)
        if current is None:
            return {}
        is_adopted = is_adopted and current.did == account.did
        loaded = self.batch_store.read(request.kind, request.ids)
        simple = [
            each
            for each in loaded
            if each
            # A document that raises an error is not simple.
            and capture_errors(partial(_is_simple, request, each, current)) is True
            and (is_adopted or (each.document.state.rkey and not is_legacy(each.document.state)))
        ]
        published = self._open_publisher(request, current, unexpected).publish(simple)
        named = zip(request.ids, loaded, strict=True)
        return {raw: published[each.id] for raw, each in named if each and each.id in published}

    def _open_publisher(
        self, request: BatchRequest, account: Account, unexpected: UnexpectedErrors
    ) -> BatchPublisher:
        return BatchPublisher(
            engine=self.engine,
            publisher=self.publisher,
            store=self.store,
            batch_store=self.batch_store,
            writer=self.writer,
            throttle=self.throttle,
            batch_files=self.batch_files,
            retry=self.retry,
            kind=request.kind,
            account=account,
            repo=self.open_repo(account),
            holder=request.holder,
            unexpected=unexpected,
        )

    def _adopt(self, request: BatchRequest, repo: Repo, account: Account) -> bool:
        """Adopt the records of a repo; return False if that fails permanently."""
        try:
            if request.backfill:
                self.adoption.adopt_for_backfill(repo, account, request.backfill)
            else:
                self.adoption.adopt_first(repo, account)
        except PermanentError:  # `Engine` repeats the call, and saves the error on each document
            return False
        return True

    def _sync_alone(self, request: BatchRequest, raw: DocumentId) -> Outcome:
        return self.engine.sync(
            request.kind.name,
            raw,
            holder=request.holder,
            user=request.subject,
            only_if_due=request.only_if_due,
        )


def _check_time(outcomes: Iterable[Outcome]) -> None:
    """Raise TimeLimitError if an item reached the time limit, as little time remains."""
    if any(each.error and each.error.code == TimeLimitError.code for each in outcomes):
        raise TimeLimitError.of("batch")


def _is_simple(request: BatchRequest, loaded: LoadedDocument, account: Account) -> bool:
    """Return whether a document can share the calls of the batch."""
    document = loaded.document
    state = document.state
    decision = plan(request.kind, document, account)
    return (
        isinstance(decision, Publish)
        and document.owner == account.subject  # the owner may have changed
        and decision.moved_from is None
        and loaded.is_claimable
        and state.lease is None
        and state.lost == 0
        and not state.strays
        # A backfill has adopted the existing records of legacy documents; `Engine` reads them.
        and (request.backfill is not None or not is_legacy(state))
        and not_before(document, only_if_due=request.only_if_due) is None
    )
