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
from worker.database.batch_store import BatchStore, Ending, LoadedDocument, Place
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
from worker.sync.run import Run, unobserved


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
    bugs: UnexpectedErrors
    _open: dict[DocumentId, Run] = field(default_factory=dict)
    _ended: list[tuple[Run, SyncState]] = field(default_factory=list)
    _before: dict[DocumentId, MediaDocument] = field(default_factory=dict)
    _alone: list[Run] = field(default_factory=list)
    _lost: list[Run] = field(default_factory=list)

    def publish(self, candidates: Sequence[LoadedDocument]) -> dict[DocumentId, Outcome]:
        """Publish documents; return the outcomes of those that nobody else had claimed.

        Raises as `Engine.sync` does, but that what nobody expected is kept in `bugs`.
        """
        self._claim(candidates)
        try:
            self._write(list(self._prepared()))
        except SoftTimeLimitExceeded:
            slow = TransientError(
                "the batch took longer than it may", step="run", code="time_limit"
            )
            for run in list(self._open.values()):
                self._fail(run, slow)
        return self._outcomes()

    def _claim(self, candidates: Sequence[LoadedDocument]) -> None:
        """Claim documents and reserve their keys."""
        wanted = [(candidate, self._place(candidate.document)) for candidate in candidates]
        seconds = self.engine.retry.lease * (2 if self.kind.has_files else 1)
        lease = new_lease(self.holder, seconds)
        for document in self.batch_store.take(self.kind, wanted, lease):
            if document is not None:
                run = Run(self.engine.store, self.kind, document, unobserved)
                run.buffered, run.did = True, self.account.did
                self._open[document.ref.id] = run
                self._before[document.ref.id] = document

    def _place(self, document: MediaDocument) -> Place | None:
        """Return the key to reserve; None when that is done, or the document cannot have one."""
        state, did = document.state, self.repo.did
        if state.repo == did and state.rkey:
            return None
        if state.rkey:
            return Place(did, state.rkey)
        try:
            return Place(did, tid_for(document.ref.id, document.fields.moment("when")))
        except FieldError:
            return None

    def _prepared(self) -> Iterator[PreparedRecord]:
        """Make the records; those that are in the repo as they should be need no writing."""
        drafted = list(self._drafted())
        maker = RecordBuilder(self.engine.publisher, self.batch_files, self.throttle, self.repo)
        made = maker.with_files(drafted) if self.kind.has_files else maker.plain(drafted)
        for run, result in made:
            match result:
                case PreparedRecord(cid=cid) if cid == run.state.cid:
                    self._settle(result)
                case PreparedRecord():
                    yield result
                case MediaError():
                    self._fail(run, result)
                case None:
                    self._go_alone(run)

    def _drafted(self) -> Iterator[tuple[Run, Draft]]:
        """Draft the records; one that cannot be drafted has failed."""
        site = self.engine.publisher.site
        for run in list(self._open.values()):
            draft = capture_errors(partial(run.kind.draft, run.document, self.account, site))
            if isinstance(draft, Draft):
                yield run, draft
            elif draft is None:
                self._go_alone(run)
            else:
                self._fail(run, draft)

    def _write(self, records: Sequence[PreparedRecord]) -> None:
        written = self.writer.write(self.repo, records)
        for item in written.there:
            self._settle(item)
        for item in written.refused:
            self._go_alone(item.run)
        for item, error in written.failed:
            self._fail(item.run, error)

    def _settle(self, item: PreparedRecord) -> None:
        settled = self.engine.publisher.settled
        self._end(item.run, settled(item.run.state, item.key, item.cid, item.parts))

    def _fail(self, run: Run, error: MediaError) -> None:
        if isinstance(error, LeaseLostError):
            self._lost.append(self._open.pop(run.document.ref.id))
        else:
            self._end(run, after_failure(run.state, error, self.engine.retry, now()))

    def _end(self, run: Run, state: SyncState) -> None:
        self._ended.append((self._open.pop(run.document.ref.id), state))

    def _go_alone(self, run: Run) -> None:
        self._alone.append(self._open.pop(run.document.ref.id))

    def _outcomes(self) -> dict[DocumentId, Outcome]:
        outcomes: dict[DocumentId, Outcome] = {}
        ended = [(run.document, state) for run, state in self._ended]
        endings = self.batch_store.finish(self.kind, ended)
        for (run, state), ending in zip(self._ended, endings, strict=True):
            outcomes[run.document.ref.id] = self._concluded(run, state, ending)
        for run in self._lost:
            outcomes[run.document.ref.id] = self._overtaken(run)
        for run in self._alone:
            sync_claimed = partial(self.engine.sync_claimed, run, holder=self.holder)
            outcomes[run.document.ref.id] = self.bugs.outcome(run.document.ref.id, sync_claimed)
        return outcomes

    def _concluded(self, run: Run, state: SyncState, ending: Ending) -> Outcome:
        """Return how a finished document ended, once what followed it is done."""
        if ending.held:
            return self._overtaken(run)
        if ending.there and not ending.changed:
            self.engine.tell(run, state)
            return self._told(Outcome.of_document(self._before[run.document.ref.id], state))
        return self._again(run, self.holder)

    def _overtaken(self, run: Run) -> Outcome:
        if not run.written:
            return self._told(Outcome(run.document.ref, None, "another run has taken over"))
        self.engine.record_stray_writes(run)
        # Under another name, so that it does not take over in its turn.
        return self._again(run, f"{self.holder} after being overtaken")

    def _told(self, outcome: Outcome) -> Outcome:
        self.engine.item_log.ended(outcome)
        return outcome

    def _again(self, run: Run, holder: str) -> Outcome:
        ref = run.document.ref
        return self.engine.sync(ref.type, ref.id, holder=holder, user=run.document.owner)
