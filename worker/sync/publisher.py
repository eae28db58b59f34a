"""Publish one document: reserve the record key, attach blobs, write the record.

The single path (`Engine`) saves the state after each step. The batch path (`BatchEngine`) uses
some of these functions, and saves all states at the end of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from worker.core.cid import is_record_cid
from worker.core.clock import now
from worker.core.current import current_cids, is_current
from worker.core.documents import Account, Failure, MediaDocument, Status, SyncState
from worker.core.errors import TransientError
from worker.core.record_keys import next_tid, tid_for
from worker.core.records import RecordKey
from worker.core.settings import RetrySettings
from worker.database.store import RecordKeyTakenError
from worker.media.base import Draft, SiteUrls
from worker.media.validation import Lexicons
from worker.pds.errors import BlobNotFoundError, RecordConflictError
from worker.pds.repo import Repo
from worker.sync.attachments import AttachmentBuilder, Attachments, PreparedBlob
from worker.sync.retry import decide
from worker.sync.run import Run

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PreparedRecord:
    """A validated record and its key; `worker.core.current` defines `current_cids`."""

    run: Run
    key: RecordKey
    record: Record
    current_cids: tuple[str, ...]
    attachments: Attachments

    @property
    def cid(self) -> str:
        return self.current_cids[0]

    @property
    def is_current(self) -> bool:
        """Return whether the state says that this record is already published."""
        return is_current(self.run.state.cid, self.current_cids)


def is_reserved(state: SyncState, did: str) -> bool:
    """Return whether a record key is reserved in the repo `did`."""
    return state.repo == did and state.rkey is not None


def candidate_rkeys(document: MediaDocument) -> Iterator[str]:
    """Yield record keys to try: the saved key, then TIDs from the document's time.

    Raises FieldError if a TID is needed and the field `when` is invalid.
    """
    if document.state.rkey:
        yield document.state.rkey
    tid = tid_for(document.ref.id, document.fields.moment("when"))
    while True:
        yield tid
        tid = next_tid(tid)


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes documents to the repos of their accounts."""

    attachments: AttachmentBuilder
    lexicons: Lexicons
    site: SiteUrls
    retry: RetrySettings

    def publish(self, run: Run, account: Account, repo: Repo, *, force: bool) -> SyncState:
        """Publish the run's document to an account's repo; return the state to save.

        `force` writes the record even if it is current. Raises PermanentError for an invalid
        document, LeaseLostError, and the errors of files, the PDS and MongoDB.
        """
        draft = self.draft(run, account)
        self._reserve_key(run, repo)
        prepared = self._prepare(run, draft, repo)
        in_doubt = force or prepared.key.uri in run.state.strays
        if prepared.is_current and not in_doubt:
            run.report_step("the record is current: nothing to write")
            return self.published_state(prepared)
        try:
            self._write(repo, prepared)
        except BlobNotFoundError:
            run.report_step("the PDS no longer has a blob: uploading again")
            run.save(replace(run.state, blobs={}))
            prepared = self._prepare(run, draft, repo)
            self._write(repo, prepared)
        return self.published_state(prepared)

    def draft(self, run: Run, account: Account) -> Draft:
        """Build the draft of the run's record; raises PermanentError."""
        return run.kind.draft(run.document, account, self.site)

    def build_record(
        self, run: Run, draft: Draft, repo: Repo, blobs: Mapping[str, PreparedBlob]
    ) -> PreparedRecord:
        """Upload missing blobs, then build and validate the record.

        Raises PermanentError for an invalid record, and the errors of `AttachmentBuilder.build`.
        """
        attachments = self.attachments.build(run, draft, repo, blobs)
        record = attachments.complete(draft)
        self.lexicons.validate(draft.nsid, record)
        key = repo.key(draft.nsid, run.state.rkey or "")
        return PreparedRecord(run, key, record, current_cids(record), attachments)

    def published_state(self, prepared: PreparedRecord) -> SyncState:
        """Build the state to save after a record is written or found current.

        It is `synced`, or `partial` with the error and the retry time if an attachment failed.
        """
        state, attachments = prepared.run.state, prepared.attachments
        published = replace(
            state,
            status=Status.SYNCED,
            reason=None,
            uri=prepared.key.uri,
            cid=state.cid if prepared.is_current else prepared.cid,
            links=attachments.links,
            lost=0,
            error=None,
            synced_at=now(),
            retry_at=None,
            held_until=None,
        )
        faults = attachments.faults
        if not faults:
            return published
        error = next((e for e in faults if isinstance(e, TransientError)), faults[0])
        retry_at = decide(error, state.attempts, self.retry, now()).retry_at
        failure = Failure.of(error, now())
        return replace(published, status=Status.PARTIAL, error=failure, retry_at=retry_at)

    def _prepare(self, run: Run, draft: Draft, repo: Repo) -> PreparedRecord:
        blobs = self.attachments.prepare(run, draft)
        prepared = self.build_record(run, draft, repo, blobs)
        run.report_step(f"the record is valid {draft.nsid}")
        return prepared

    def _reserve_key(self, run: Run, repo: Repo) -> None:
        """Save a free record key on the document before its record is written."""
        if is_reserved(run.state, repo.did):
            return
        for rkey in candidate_rkeys(run.document):
            with suppress(RecordKeyTakenError):
                run.save(replace(run.state, repo=repo.did, rkey=rkey))
                run.report_step(f"rkey {rkey} reserved in {repo.did}")
                return

    def _write(self, repo: Repo, prepared: PreparedRecord) -> None:
        run, key = prepared.run, prepared.key
        cid = run.state.cid
        run.begin_write(key)
        run.report_step(f"writing to {key.uri}")
        try:
            ref = repo.put(key, prepared.record, swap=cid if cid and is_record_cid(cid) else None)
        except RecordConflictError:
            current = repo.get(key)
            run.report_step(f"the record was at {current.cid if current else 'no version'}")
            run.save(run.state)  # raises if the lease is lost
            ref = repo.put(key, prepared.record, swap=current.cid if current else None)
        if ref.cid != prepared.cid:
            message = f"the PDS saved {key.uri} as {ref.cid}, which is not the CID of the record"
            raise TransientError(message, step="write", code="record_altered")
        run.set_state(replace(run.state, uri=ref.uri, cid=ref.cid))
        run.report_step(f"written: {ref.uri} {ref.cid}")
