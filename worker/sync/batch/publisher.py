"""The plain documents of a batch: one claim, one write to the repo and one finish for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, MediaDocument, SyncState
from worker.core.errors import MediaError, TransientError
from worker.core.fields import FieldError
from worker.core.record_keys import tid_for
from worker.database.batch_store import BatchStore, FinishResult, LoadedDocument, ReservedKey
from worker.database.leases import new_lease
from worker.database.store import LeaseLostError
from worker.media import Draft, MediaType
from worker.pds.repo import Repo
from worker.sync.batch.records import BatchFiles, RecordBuilder, capture_errors
from worker.sync.batch.report import UnexpectedErrors
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.batch.writer import PreparedRecord, Writer
from worker.sync.engine import Engine
from worker.sync.outcome import Outcome
from worker.sync.retry import after_failure
from worker.sync.run import Run, ignore_step


@dataclass(slots=True, kw_only=True)
class BatchPublisher:
    """Documents of one account that are published together."""

    engine: Engine
    batch_store: BatchStore
    writer: Writer
    throttle: BulkThrottle
    batch_files: BatchFiles
    kind: MediaType
    account: Account
    repo: Repo
    holder: str
    unexpected: UnexpectedErrors
    _open: dict[DocumentId, Run] = field(default_factory=dict)
    _ended: list[tuple[Run, SyncState]] = field(default_factory=list)
    _before: dict[DocumentId, MediaDocument] = field(default_factory=dict)
    _alone: list[Run] = field(default_factory=list)
    _lost: list[Run] = field(default_factory=list)

    def publish(self, loaded_documents: Sequence[LoadedDocument]) -> dict[DocumentId, Outcome]:
        """Publish documents; return the outcomes of those that nobody else had claimed.

        Raises as `Engine.sync` does, but that what nobody expected is kept in `bugs`.
        """
        self._claim(loaded_documents)
        try:
            self._write(list(self._build_records()))
        except SoftTimeLimitExceeded:
            slow = TransientError(
                "the batch took longer than it may", step="run", code="time_limit"
            )
            for run in list(self._open.values()):
                self._fail(run, slow)
        return self._outcomes()

    def _claim(self, loaded_documents: Sequence[LoadedDocument]) -> None:
        """Claim documents and reserve their keys."""
        wanted = [(loaded, self._reserve_key(loaded.document)) for loaded in loaded_documents]
        seconds = self.engine.retry.lease * (2 if self.kind.has_files else 1)
        lease = new_lease(self.holder, seconds)
        for document in self.batch_store.claim(self.kind, wanted, lease):
            if document is not None:
                run = Run(self.engine.store, self.kind, document, ignore_step)
                run.buffered, run.did = True, self.account.did
                self._open[document.ref.id] = run
                self._before[document.ref.id] = document

    def _reserve_key(self, document: MediaDocument) -> ReservedKey | None:
        """Return the key to reserve; None when that is done, or the document cannot have one."""
        state, did = document.state, self.repo.did
        if state.repo == did and state.rkey:
            return None
        if state.rkey:
            return ReservedKey(did, state.rkey)
        try:
            return ReservedKey(did, tid_for(document.ref.id, document.fields.moment("when")))
        except FieldError:
            return None

    def _build_records(self) -> Iterator[PreparedRecord]:
        """Make the records; those that are in the repo as they should be need no writing."""
        drafted = list(self._build_drafts())
        builder = RecordBuilder(self.engine.publisher, self.batch_files, self.throttle, self.repo)
        made = (
            builder.with_files(drafted) if self.kind.has_files else builder.without_files(drafted)
        )
        for run, result in made:
            match result:
                case PreparedRecord(cid=cid) if cid == run.state.cid:
                    self._settle(result)
                case PreparedRecord():
                    yield result
                case MediaError():
                    self._fail(run, result)
                case None:
                    self._fall_back(run)

    def _build_drafts(self) -> Iterator[tuple[Run, Draft]]:
        """Draft the records; one that cannot be drafted has failed."""
        site = self.engine.publisher.site
        for run in list(self._open.values()):
            draft = capture_errors(partial(run.kind.draft, run.document, self.account, site))
            if isinstance(draft, Draft):
                yield run, draft
            elif draft is None:
                self._fall_back(run)
            else:
                self._fail(run, draft)

    def _write(self, records: Sequence[PreparedRecord]) -> None:
        written = self.writer.write(self.repo, records)
        for item in written.written:
            self._settle(item)
        for item in written.rejected:
            self._fall_back(item.run)
        for item, error in written.failed:
            self._fail(item.run, error)

    def _settle(self, item: PreparedRecord) -> None:
        settled = self.engine.publisher.published_state
        self._end(item.run, settled(item.run.state, item.key, item.cid, item.parts))

    def _fail(self, run: Run, error: MediaError) -> None:
        if isinstance(error, LeaseLostError):
            self._lost.append(self._open.pop(run.document.ref.id))
        else:
            self._end(run, after_failure(run.state, error, self.engine.retry, now()))

    def _end(self, run: Run, state: SyncState) -> None:
        self._ended.append((self._open.pop(run.document.ref.id), state))

    def _fall_back(self, run: Run) -> None:
        self._alone.append(self._open.pop(run.document.ref.id))

    def _outcomes(self) -> dict[DocumentId, Outcome]:
        outcomes: dict[DocumentId, Outcome] = {}
        ended = [(run.document, state) for run, state in self._ended]
        finish_results = self.batch_store.finish(self.kind, ended)
        for (run, state), finish_result in zip(self._ended, finish_results, strict=True):
            outcomes[run.document.ref.id] = self._conclude(run, state, finish_result)
        for run in self._lost:
            outcomes[run.document.ref.id] = self._handle_takeover(run)
        for run in self._alone:
            sync_claimed = partial(self.engine.sync_claimed, run, holder=self.holder)
            outcomes[run.document.ref.id] = self.unexpected.outcome(
                run.document.ref.id, sync_claimed
            )
        return outcomes

    def _conclude(self, run: Run, state: SyncState, finish_result: FinishResult) -> Outcome:
        """Return how a finished document ended, once what followed it is done."""
        if finish_result.held:
            return self._handle_takeover(run)
        if finish_result.there and not finish_result.changed:
            self.engine.alert_if_failed(run, state)
            return self._log_outcome(Outcome.of_document(self._before[run.document.ref.id], state))
        return self._sync_again(run, self.holder)

    def _handle_takeover(self, run: Run) -> Outcome:
        if not run.written:
            return self._log_outcome(Outcome(run.document.ref, None, "another run has taken over"))
        self.engine.record_stray_writes(run)
        # Under another name, so that it does not take over in its turn.
        return self._sync_again(run, f"{self.holder} after being overtaken")

    def _log_outcome(self, outcome: Outcome) -> Outcome:
        self.engine.item_log.record(outcome)
        return outcome

    def _sync_again(self, run: Run, holder: str) -> Outcome:
        ref = run.document.ref
        return self.engine.sync(ref.type, ref.id, holder=holder, user=run.document.owner)
