"""A batch: many documents of one account, claimed, made, written and finished together.

What is plain (to be published, where it belongs, nothing in doubt) goes through here, with one
call for all where an item has one each. Everything else goes the way of single items
(`Engine.sync`), and so does whatever a batch trips over: one bad item never fails its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, Failure, ItemRef
from worker.core.errors import AccountError
from worker.database.accounts import Accounts
from worker.database.batch_store import BatchStore, LoadedDocument
from worker.database.leases import message_of, not_before
from worker.media import MediaType, media_type
from worker.pds.repo import Repo
from worker.sync.batch.adoption import Adoption
from worker.sync.batch.progress import ProgressTracker
from worker.sync.batch.publisher import BatchPublisher
from worker.sync.batch.records import BatchFiles
from worker.sync.batch.report import BatchReport, UnexpectedErrors
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.batch.writer import Writer
from worker.sync.engine import Engine
from worker.sync.outcome import Outcome
from worker.sync.plan import Publish, plan


@dataclass(frozen=True, slots=True)
class BatchEngine:
    """Everything that syncing a batch takes."""

    engine: Engine
    accounts: Accounts
    batch_store: BatchStore
    adoption: Adoption
    writer: Writer
    throttle: BulkThrottle
    batch_files: BatchFiles
    progress: ProgressTracker
    open_repo: Callable[[Account], Repo]

    def sync_batch(
        self,
        type_name: str,
        subject: str,
        ids: Sequence[DocumentId],
        *,
        holder: str,
        backfill: str | None,
        only_if_due: bool,
        max_wait: float,
    ) -> BatchReport:
        """Sync a batch as a message asks for it, and tell its backfill how it went.

        Items that are due again within `max_wait` seconds are not done yet. Raises as `sync`
        does, and UnknownTypeError.
        """
        kind = media_type(type_name)
        unexpected = self._unexpected_errors(kind)
        outcomes = self._sync(
            kind,
            subject,
            ids,
            unexpected,
            holder=holder,
            backfill=backfill,
            only_if_due=only_if_due,
        )
        report = BatchReport(tuple(zip(ids, outcomes, strict=True)))
        if backfill:
            # A message that fails does not come again.
            again = set() if unexpected else set(report.due_within(max_wait)[0])
            ended = [outcome for raw, outcome in report.outcomes if raw not in again]
            self.progress.report(backfill, message_of(holder), kind.name, ended, done=not again)
        unexpected.raise_all(subject)
        return report

    def sync(
        self,
        kind: MediaType,
        subject: str,
        ids: Sequence[DocumentId],
        *,
        holder: str,
        backfill: str | None = None,
        only_if_due: bool = False,
    ) -> list[Outcome]:
        """Make the PDS match documents of a user as they are now; an outcome each, in order.

        `holder` names the message or person asking. A `backfill`, named here, reads each repo
        once before it first writes there, and adopts the records that it finds: where that
        cannot be read, the items are left as they are. With `only_if_due` items that wait are
        left waiting.

        Raises as `Engine.sync` does; and an ExceptionGroup of what nobody expected, once all
        other items are done.
        """
        unexpected = self._unexpected_errors(kind)
        outcomes = self._sync(
            kind,
            subject,
            ids,
            unexpected,
            holder=holder,
            backfill=backfill,
            only_if_due=only_if_due,
        )
        unexpected.raise_all(subject)
        return outcomes

    def _sync(
        self,
        kind: MediaType,
        subject: str,
        ids: Sequence[DocumentId],
        unexpected: UnexpectedErrors,
        *,
        holder: str,
        backfill: str | None,
        only_if_due: bool,
    ) -> list[Outcome]:
        account = self.accounts.find(subject)
        outcomes: dict[DocumentId, Outcome] = {}
        if account is not None:
            repo = self.open_repo(account)
            try:
                if backfill:
                    self.adoption.adopt(repo, account, backfill)
            except AccountError as fault:
                return [self._skip(kind, raw, fault) for raw in ids]
            found = self.batch_store.read(kind, ids)
            plain = [
                c for c in found if c and _is_simple(kind, c, account, only_if_due=only_if_due)
            ]
            batch_publisher = BatchPublisher(
                engine=self.engine,
                batch_store=self.batch_store,
                writer=self.writer,
                throttle=self.throttle,
                batch_files=self.batch_files,
                kind=kind,
                account=account,
                repo=repo,
                holder=holder,
                unexpected=unexpected,
            )
            published = batch_publisher.publish(plain)
            named = zip(ids, found, strict=True)
            outcomes = {raw: published[c.id] for raw, c in named if c and c.id in published}
        for raw in ids:
            if raw not in outcomes:
                alone = partial(self.engine.sync, kind.name, raw, holder=holder, user=subject)
                outcomes[raw] = unexpected.outcome(raw, partial(alone, only_if_due=only_if_due))
        return [outcomes[raw] for raw in ids]

    def _unexpected_errors(self, kind: MediaType) -> UnexpectedErrors:
        engine = self.engine
        return UnexpectedErrors(engine.store, kind, engine.alerts, engine.item_log)

    def _skip(self, kind: MediaType, raw: DocumentId, fault: AccountError) -> Outcome:
        """Return the outcome of an item that is left as it is, because its repo cannot be read."""
        failure = Failure.of(fault, now())
        outcome = Outcome(ItemRef(kind.name, raw), None, fault.message, error=failure)
        self.engine.item_log.record(outcome)
        return outcome


def _is_simple(
    kind: MediaType, loaded: LoadedDocument, account: Account, *, only_if_due: bool
) -> bool:
    """Tell whether a document is to be published where it belongs, and nothing is in doubt."""
    document = loaded.document
    state = document.state
    decision = plan(kind, document, account)
    return (
        isinstance(decision, Publish)
        and document.owner == account.subject  # given away since, it is another account's
        and decision.moved_from is None
        and loaded.is_claimable
        and state.lease is None
        and state.lost == 0  # what has killed workers does so alone
        and not state.strays
        and not_before(document, only_if_due=only_if_due) is None
    )
