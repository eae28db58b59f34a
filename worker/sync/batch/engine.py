"""Sync a batch: many documents of one account, with one call per step for all of them.

Simple documents (to be published, in this account's repo, no earlier crash or stray write) share
the calls. All others, and every document that fails in the batch, fall back to `Engine`, so that
one bad item never fails the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, Failure, ItemRef
from worker.core.errors import AccountError
from worker.core.settings import RetrySettings
from worker.database.accounts import Accounts
from worker.database.batch_store import BatchStore, LoadedDocument
from worker.database.leases import message_of, not_before
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.pds.repo import Repo
from worker.sync.batch.adoption import Adoption
from worker.sync.batch.progress import ProgressTracker
from worker.sync.batch.publisher import BatchPublisher
from worker.sync.batch.records import BatchFiles
from worker.sync.batch.report import BatchReport, UnexpectedErrors
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.batch.writer import Writer
from worker.sync.engine import Engine
from worker.sync.item_log import ItemLog
from worker.sync.outcome import Outcome
from worker.sync.plan import Publish, plan
from worker.sync.publisher import Publisher
from worker.telemetry.alerts import Alerts


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """Documents of one type and one subject to sync.

    `holder` names the message or person asking. A `backfill` reads each repo once before it
    first writes there, and adopts the records that it finds. With `only_if_due` items that wait
    are left waiting.
    """

    kind: MediaType
    subject: str
    ids: Sequence[DocumentId]
    holder: str
    backfill: str | None = None
    only_if_due: bool = False


@dataclass(frozen=True, slots=True)
class BatchEngine:
    """Syncs the documents of one account together."""

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
        """Sync a batch as `sync` does, and report to its backfill; return the report.

        Items that are due again within `max_wait` seconds are not reported yet.
        """
        unexpected = self._unexpected_errors(request.kind)
        outcomes = self._sync(request, unexpected)
        report = BatchReport(tuple(zip(request.ids, outcomes, strict=True)))
        if request.backfill:
            # A message that fails is not delivered again.
            again = set() if unexpected else set(report.due_within(max_wait)[0])
            ended = [outcome for raw, outcome in report.outcomes if raw not in again]
            message = message_of(request.holder)
            name = request.kind.name
            self.progress.report(request.backfill, message, name, ended, done=not again)
        unexpected.raise_all(request.subject)
        return report

    def sync(self, request: BatchRequest) -> list[Outcome]:
        """Make the PDS match the documents as they are now; return an outcome for each, in order.

        If the repo of a backfill cannot be read, the items are left as they are. Raises as
        `Engine.sync` does, and an ExceptionGroup of unexpected errors once all other items are
        done.
        """
        unexpected = self._unexpected_errors(request.kind)
        outcomes = self._sync(request, unexpected)
        unexpected.raise_all(request.subject)
        return outcomes

    def _sync(self, request: BatchRequest, unexpected: UnexpectedErrors) -> list[Outcome]:
        account = self.accounts.find(request.subject)
        try:
            outcomes = self._publish(request, account, unexpected) if account else {}
        except AccountError as fault:
            return [self._skip(request.kind, raw, fault) for raw in request.ids]
        for raw in request.ids:
            if raw not in outcomes:
                outcomes[raw] = unexpected.outcome(raw, partial(self._sync_alone, request, raw))
        return [outcomes[raw] for raw in request.ids]

    def _publish(
        self, request: BatchRequest, account: Account, unexpected: UnexpectedErrors
    ) -> dict[DocumentId, Outcome]:
        """Publish the simple documents together; return their outcomes by the ids given.

        Raises AccountError if the repo of a backfill cannot be read.
        """
        repo = self.open_repo(account)
        if request.backfill:
            self.adoption.adopt(repo, account, request.backfill)
        loaded = self.batch_store.read(request.kind, request.ids)
        simple = [each for each in loaded if each and _is_simple(request, each, account)]
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

    def _sync_alone(self, request: BatchRequest, raw: DocumentId) -> Outcome:
        return self.engine.sync(
            request.kind.name,
            raw,
            holder=request.holder,
            user=request.subject,
            only_if_due=request.only_if_due,
        )

    def _unexpected_errors(self, kind: MediaType) -> UnexpectedErrors:
        return UnexpectedErrors(self.store, kind, self.alerts, self.item_log)

    def _skip(self, kind: MediaType, raw: DocumentId, fault: AccountError) -> Outcome:
        """Return the outcome of an item that is left as it is, because its repo is unreadable."""
        failure = Failure.of(fault, now())
        outcome = Outcome(ItemRef(kind.name, raw), None, fault.message, error=failure)
        self.item_log.record(outcome)
        return outcome


def _is_simple(request: BatchRequest, loaded: LoadedDocument, account: Account) -> bool:
    """Return whether a document can share the calls of the batch."""
    document = loaded.document
    state = document.state
    decision = plan(request.kind, document, account)
    return (
        isinstance(decision, Publish)
        and document.owner == account.subject  # given away since, it is another account's
        and decision.moved_from is None
        and loaded.is_claimable
        and state.lease is None
        and state.lost == 0  # a document that has killed workers is synced alone
        and not state.strays
        and not_before(document, only_if_due=request.only_if_due) is None
    )
