"""Publish the simple documents of a batch with shared calls.

All documents share one bulk claim, one applyWrites call per chunk and one bulk update. The function
`_is_simple` in engine.py defines simple documents.

A document falls back to `Engine` if the PDS rejects its write, or if building its record raises an
unexpected error. The other documents are not affected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, MediaDocument, SyncState
from worker.core.errors import MediaError, TimeLimitError
from worker.core.settings import RetrySettings
from worker.database.batch_store import BatchStore, LoadedDocument
from worker.database.leases import new_lease
from worker.database.store import DocumentStore, Finish, LeaseLostError
from worker.media import Draft, MediaType
from worker.pds.repo import Repo
from worker.sync.batch.records import BatchFiles, RecordBuilder, capture_errors
from worker.sync.batch.report import UnexpectedErrors
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.batch.writer import Writer, existing_records
from worker.sync.engine import Engine
from worker.sync.outcome import Outcome
from worker.sync.publisher import PreparedRecord, Publisher, candidate_rkeys, is_reserved
from worker.sync.retry import after_failure
from worker.sync.run import Run


@dataclass(slots=True, kw_only=True)
class BatchPublisher:
    """Publishes documents of one account together.

    The run of each claimed document starts in `_open`. It moves to `_ended` with its final state,
    to `_fallen_back` if `Engine` must sync the document, or to `_lost` if its lease is lost.
    """

    engine: Engine
    store: DocumentStore
    batch_store: BatchStore
    publisher: Publisher
    retry: RetrySettings
    writer: Writer
    throttle: BulkThrottle
    batch_files: BatchFiles
    kind: MediaType
    account: Account
    repo: Repo
    holder: str
    unexpected: UnexpectedErrors
    _open: list[Run] = field(default_factory=list)
    _current: list[PreparedRecord] = field(default_factory=list)
    _ended: list[tuple[Run, SyncState]] = field(default_factory=list)
    _fallen_back: list[Run] = field(default_factory=list)
    _lost: list[Run] = field(default_factory=list)

    def publish(self, loaded_documents: Sequence[LoadedDocument]) -> dict[DocumentId, Outcome]:
        """Publish documents; return the outcomes of the claimed documents by `_id`.

        Raises the same errors as `Engine.sync`, but adds the unexpected errors of documents that
        fall back to `unexpected`.
        """
        self._claim(loaded_documents)
        try:
            records = list(self._build_records())
            self._settle_current()
            self._write(records)
        except SoftTimeLimitExceeded:
            slow = TimeLimitError.of("batch")
            for run in list(self._open):
                self._fail(run, slow)
        return self._finish()

    def _claim(self, loaded_documents: Sequence[LoadedDocument]) -> None:
        did = self.account.did
        wanted = [(loaded, self._choose_rkey(loaded.document)) for loaded in loaded_documents]
        lease = new_lease(self.holder, self.retry.lease * (2 if self.kind.has_files else 1))
        claimed = self.batch_store.claim(self.kind, did, wanted, lease)
        self._open = [Run(self.store, self.kind, each, did, buffered=True) for each in claimed]

    def _choose_rkey(self, document: MediaDocument) -> str | None:
        """Return the rkey to reserve; None if one is reserved or cannot be derived."""
        if is_reserved(document.state, self.account.did):
            return None
        rkey = capture_errors(partial(next, candidate_rkeys(document)))
        return rkey if isinstance(rkey, str) else None

    def _build_records(self) -> Iterator[PreparedRecord]:
        """Build records; yield those to write. Others are current, or their runs end here."""
        drafted = list(self._build_drafts())
        builder = RecordBuilder(self.publisher, self.batch_files, self.throttle, self.repo)
        build = builder.with_files if self.kind.has_files else builder.without_files
        for run, result in build(drafted):
            match result:
                case PreparedRecord() if result.is_current:
                    self._current.append(result)
                case PreparedRecord():
                    yield result
                case MediaError():
                    self._fail(run, result)
                case None:
                    self._fall_back(run)

    def _build_drafts(self) -> Iterator[tuple[Run, Draft]]:
        for run in list(self._open):
            draft = capture_errors(partial(self.publisher.draft, run, self.account))
            match draft:
                case Draft():
                    yield run, draft
                case MediaError():
                    self._fail(run, draft)
                case None:
                    self._fall_back(run)

    def _settle_current(self) -> None:
        """Settle the documents with a current record, if the repo has it; others fall back.

        A document may have been inserted again with its old state after its record was removed. A
        state without `syncedAt` comes from an adoption, which has just read the repo.
        """
        synced = [item.key for item in self._current if item.run.state.synced_at]
        try:
            existing = existing_records(self.repo, synced) if synced else {}
        except MediaError as error:
            for item in self._current:
                self._fail(item.run, error)
            return
        for item in self._current:
            record, state = existing.get(item.key.rkey), item.run.state
            if state.synced_at is None or (record and record.cid == state.cid):
                self._settle(item)
            else:
                self._fall_back(item.run)

    def _write(self, records: Sequence[PreparedRecord]) -> None:
        result = self.writer.write(self.repo, records)
        for item in result.written:
            self._settle(item)
        for item in result.rejected:
            self._fall_back(item.run)
        for item, error in result.failed:
            self._fail(item.run, error)

    def _expect_removals(self, finished: Sequence[tuple[Run, SyncState, Finish]]) -> None:
        """Save the removals of all vanished documents before the first one, which may be slow."""
        for run, state, finish in finished:
            if finish is Finish.VANISHED and state.rkey:
                item, owner = run.document.ref.id, run.document.owner
                self.engine.remover.expect(self.kind, item, owner, state.rkey)

    def _settle(self, item: PreparedRecord) -> None:
        self._end(item.run, self.publisher.published_state(item))

    def _fail(self, run: Run, error: MediaError) -> None:
        if isinstance(error, LeaseLostError):
            self._open.remove(run)
            self._lost.append(run)
        else:
            self._end(run, after_failure(run.state, error, self.retry, now()))

    def _end(self, run: Run, state: SyncState) -> None:
        self._open.remove(run)
        self._ended.append((run, state))

    def _fall_back(self, run: Run) -> None:
        """Move a run to `_fallen_back`, so that `Engine` syncs its document."""
        self._open.remove(run)
        self._fallen_back.append(run)

    def _finish(self) -> dict[DocumentId, Outcome]:
        """Save final states; sync documents that changed or fell back; return outcomes."""
        outcomes: dict[DocumentId, Outcome] = {}
        saved = self.batch_store.finish(
            self.kind, [(run.document, state) for run, state in self._ended]
        )
        self.engine.discard_replaced(self._ended)
        finished = [(*ended, finish) for ended, finish in zip(self._ended, saved, strict=True)]
        finished += [(run, run.state, Finish.SUPERSEDED) for run in self._lost]
        self._expect_removals(finished)
        for run, state, finish in finished:
            conclude = partial(self.engine.conclude, run, state, finish, holder=self.holder)
            outcomes[run.document.ref.id] = self.unexpected.outcome(run.document.ref.id, conclude)
        for run in self._fallen_back:
            sync = partial(self.engine.sync_claimed, run, holder=self.holder)
            outcomes[run.document.ref.id] = self.unexpected.outcome(run.document.ref.id, sync)
        return outcomes
