"""Sync a batch of one account's documents, with shared calls for each step.

Only simple documents share calls (see `_is_simple`). `Engine` syncs all others one by one. It also
syncs simple documents again after a rejected write or an unexpected error, so that one invalid
item does not fail the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, Failure, ItemRef
from worker.core.errors import AccountError, MediaError
from worker.core.settings import RetrySettings
from worker.database.accounts import Accounts
from worker.database.adopted_repos import RepoReadLostError
from worker.database.batch_store import BatchStore, LoadedDocument
from worker.database.leases import message_of, not_before
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.pds.repo import Repo
from worker.sync.adoption import Adoption
from worker.sync.batch.progress import ProgressTracker
from worker.sync.batch.publisher import BatchPublisher
from worker.sync.batch.records import BatchFiles
from worker.sync.batch.report import BatchReport, UnexpectedErrors
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.batch.writer import Writer
from worker.sync.engine import Engine
from worker.sync.existing_records import is_legacy
from worker.sync.item_log import ItemLog
from worker.sync.outcome import Outcome
from worker.sync.plan import Publish, plan
from worker.sync.publisher import Publisher
from worker.telemetry.alerts import Alerts


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A request to sync documents of one type and one owner, `subject`.

    `holder` names the queue message or operator that requested the sync. `backfill` is the name of
    a backfill; its first batch for a repo adopts existing records. `only_if_due` skips items that
    are not due.
    """

    kind: MediaType
    subject: str
    ids: Sequence[DocumentId]
    holder: str
    backfill: str | None = None
    only_if_due: bool = False


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
        If a backfill cannot read the repo, no item is changed. Raises as `Engine.sync` does;
        unexpected errors are raised at the end, as an ExceptionGroup.
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
        account = self.accounts.find(request.subject)
        try:
            if account and request.backfill:
                self.adoption.adopt_for_backfill(self.open_repo(account), account, request.backfill)
                account = self.accounts.find(request.subject)  # it may have changed meanwhile
            outcomes = self._publish(request, account, unexpected) if account else {}
        except (AccountError, RepoReadLostError) as error:
            # The repo of a backfill cannot be read: no item is changed.
            items = [ItemRef(request.kind.name, raw) for raw in request.ids]
            failure = Failure.of(error, now())
            skipped = [Outcome(item, None, error.message, error=failure) for item in items]
            for outcome in skipped:
                self.item_log.record(outcome)
            return skipped
        for raw in request.ids:
            if raw not in outcomes:
                outcomes[raw] = unexpected.outcome(raw, partial(self._sync_alone, request, raw))
        return [outcomes[raw] for raw in request.ids]

    def _publish(
        self, request: BatchRequest, account: Account, unexpected: UnexpectedErrors
    ) -> dict[DocumentId, Outcome]:
        """Publish the simple documents; return their outcomes by requested id."""
        repo = self.open_repo(account)
        is_adopted = request.backfill is not None or self._adopt_first(repo, account)
        loaded = self.batch_store.read(request.kind, request.ids)
        simple = [
            each
            for each in loaded
            if each
            and _is_simple(request, each, account)
            and (is_adopted or each.document.state.rkey)
        ]
        publisher = BatchPublisher(
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
            repo=repo,
            holder=request.holder,
            unexpected=unexpected,
        )
        published = publisher.publish(simple)
        named = zip(request.ids, loaded, strict=True)
        return {raw: published[each.id] for raw, each in named if each and each.id in published}

    def _adopt_first(self, repo: Repo, account: Account) -> bool:
        """Adopt the records of a repo; return False if it cannot be read now."""
        try:
            self.adoption.adopt_first(repo, account)
        except MediaError:  # `Engine` repeats the call, and saves the error on each document
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
