"""The plain documents of a batch: one claim, one write to the repo and one finish for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, MediaDocument, SyncState
from worker.core.errors import MediaError, TimeLimitError
from worker.core.fields import FieldError
from worker.core.settings import RetrySettings
from worker.database.batch_store import BatchStore, LoadedDocument, ReservedKey
from worker.database.leases import new_lease
from worker.database.store import DocumentStore, Finish, LeaseLostError
from worker.media import Draft, MediaType
from worker.pds.repo import Repo
from worker.sync.batch.records import BatchFiles, RecordBuilder, capture_errors
from worker.sync.batch.report import UnexpectedErrors
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.batch.writer import Writer
from worker.sync.engine import Engine
from worker.sync.outcome import Outcome
from worker.sync.publisher import PreparedRecord, Publisher, candidate_rkeys, is_reserved
from worker.sync.retry import after_failure
from worker.sync.run import Run


@dataclass(slots=True, kw_only=True)
class BatchPublisher:
    """Documents of one account that are published together."""

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
    _open: dict[DocumentId, Run] = field(default_factory=dict)
    _ended: list[tuple[Run, SyncState]] = field(default_factory=list)
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
            slow = TimeLimitError("the batch took longer than it may")
            for run in list(self._open.values()):
                self._fail(run, slow)
        return self._outcomes()

    def _claim(self, loaded_documents: Sequence[LoadedDocument]) -> None:
        """Claim documents and reserve their keys."""
        wanted = [(loaded, self._reserve_key(loaded.document)) for loaded in loaded_documents]
        seconds = self.retry.lease * (2 if self.kind.has_files else 1)
        lease = new_lease(self.holder, seconds)
        for document in self.batch_store.claim(self.kind, wanted, lease):
            if document is not None:
                self._open[document.ref.id] = Run(
                    self.store, self.kind, document, did=self.account.did, buffered=True
                )

    def _reserve_key(self, document: MediaDocument) -> ReservedKey | None:
        """Return the key to reserve; None if it is reserved, or the document cannot have one."""
        if is_reserved(document.state, self.repo.did):
            return None
        try:
            return ReservedKey(self.repo.did, next(candidate_rkeys(document)))
        except FieldError:
            return None

    def _build_records(self) -> Iterator[PreparedRecord]:
        """Make the records; those that are in the repo as they should be need no writing."""
        drafted = list(self._build_drafts())
        builder = RecordBuilder(self.publisher, self.batch_files, self.throttle, self.repo)
        made = (
            builder.with_files(drafted) if self.kind.has_files else builder.without_files(drafted)
        )
        for run, result in made:
            match result:
                case PreparedRecord() if result.is_current:
                    self._settle(result)
                case PreparedRecord():
                    yield result
                case MediaError():
                    self._fail(run, result)
                case None:
                    self._fall_back(run)

    def _build_drafts(self) -> Iterator[tuple[Run, Draft]]:
        """Draft the records; one that cannot be drafted has failed."""
        for run in list(self._open.values()):
            draft = capture_errors(partial(self.publisher.draft, run, self.account))
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
        self._end(item.run, self.publisher.published_state(item))

    def _fail(self, run: Run, error: MediaError) -> None:
        if isinstance(error, LeaseLostError):
            self._lost.append(self._open.pop(run.document.ref.id))
        else:
            self._end(run, after_failure(run.state, error, self.retry, now()))

    def _end(self, run: Run, state: SyncState) -> None:
        self._ended.append((self._open.pop(run.document.ref.id), state))

    def _fall_back(self, run: Run) -> None:
        self._alone.append(self._open.pop(run.document.ref.id))

    def _outcomes(self) -> dict[DocumentId, Outcome]:
        """Finish all documents, and sync again those that changed or fell back."""
        outcomes: dict[DocumentId, Outcome] = {}
        ended = [(run.document, state) for run, state in self._ended]
        finishes = self.batch_store.finish(self.kind, ended)
        for (run, state), finish in zip(self._ended, finishes, strict=True):
            outcomes[run.document.ref.id] = self._conclude(run, state, finish)
        for run in self._lost:
            outcomes[run.document.ref.id] = self._conclude(run, run.state, Finish.SUPERSEDED)
        for run in self._alone:
            sync = partial(self.engine.sync_claimed, run, holder=self.holder)
            outcomes[run.document.ref.id] = self.unexpected.outcome(run.document.ref.id, sync)
        return outcomes

    def _conclude(self, run: Run, state: SyncState, finish: Finish) -> Outcome:
        return self.engine.conclude(run, state, finish, holder=self.holder)
