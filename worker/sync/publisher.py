"""Publish one document: reserve the record key, attach blobs, write the record.

The single path (`Engine`) saves the state after each step. The batch path (`BatchEngine`) uses
some of these functions, and saves all states at the end of the batch.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from worker.core.cid import cid_of_record, is_record_cid
from worker.core.clock import now
from worker.core.current import is_current, optional_additions
from worker.core.documents import Account, BlobState, Failure, MediaDocument, Status, SyncState
from worker.core.errors import MediaError, TransientError
from worker.core.record_keys import next_tid, tid_for
from worker.core.records import RecordKey, RemoteRecord
from worker.core.settings import RetrySettings
from worker.database.store import RecordKeyTakenError
from worker.media.base import Draft, SiteUrls
from worker.media.validation import Lexicons
from worker.pds.errors import BlobNotFoundError, BlobTypeConflictError, RecordConflictError
from worker.pds.repo import Repo
from worker.sync.attachments import AttachmentBuilder, Attachments, PreparedBlob
from worker.sync.existing_records import adopt_blobs, is_legacy
from worker.sync.ownership import RecordNotProvenError, check_owner, read_replaced, without_key
from worker.sync.retry import decide
from worker.sync.run import Run

Record = Mapping[str, object]
_MAX_REFUSED = 5  # record keys
_MAX_REPAIRS = 3  # of the blobs of a record, after a refused write


@dataclass(frozen=True, slots=True)
class PreparedRecord:
    """A validated record, its key and its CID."""

    run: Run
    key: RecordKey
    record: Record
    cid: str
    attachments: Attachments

    @property
    def is_current(self) -> bool:
        """Return whether the state says that a current record is already published."""
        state = self.run.state
        additions = optional_additions(self.run.kind.additions, self.run.document)
        return is_current(state.cid, self.cid, self.record, additions)


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


def _without_additions(run: Run, blobs: Mapping[str, PreparedBlob]) -> Mapping[str, PreparedBlob]:
    """Return `blobs` without the additions that the published record may lack."""
    if run.state.cid is None:
        return blobs
    additions = optional_additions(run.kind.additions, run.document)
    return {name: blob for name, blob in blobs.items() if name not in additions}


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes documents to the repos of their accounts."""

    attachments: AttachmentBuilder
    lexicons: Lexicons
    site: SiteUrls
    retry: RetrySettings

    def publish(
        self,
        run: Run,
        account: Account,
        repo: Repo,
        *,
        force: bool,
        refused: frozenset[str] = frozenset(),
    ) -> SyncState:
        """Publish the run's document to an account's repo; return the state to save.

        `force` writes the record even if it is current. `refused` are record keys at which the repo
        has records of other documents. Raises PermanentError for an invalid document,
        LeaseLostError, and the errors of files, the PDS and MongoDB.
        """
        draft = self.draft(run, account)
        was_reserved = is_reserved(run.state, repo.did)
        try:
            self._reserve_key(run, draft.nsid, repo, refused)
            in_doubt = force or self._key(run, draft, repo).uri in run.state.strays
            prepared = self._prepare(run, draft, repo, complete=in_doubt)
            if prepared.is_current and not in_doubt:
                # A record whose key this run has reserved was read for that.
                if not was_reserved or self._is_published(run, repo, prepared.key):
                    run.report_step("the record is current: nothing to write")
                    return self.published_state(prepared)
                prepared = self._prepare(run, draft, repo, complete=True)
            prepared = self._write_and_repair(repo, draft, prepared)
        except RecordNotProvenError as error:
            run.report_step(error.message)
            more = refused | {run.state.rkey or ""}
            run.set_state(without_key(run.state))
            if len(more) == _MAX_REFUSED:
                raise
            return self.publish(run, account, repo, force=force, refused=more)
        return self.published_state(prepared)

    def draft(self, run: Run, account: Account) -> Draft:
        """Build the draft of the run's record; raises PermanentError."""
        return run.kind.draft(run.document, account, self.site)

    def build_record(
        self,
        run: Run,
        draft: Draft,
        repo: Repo,
        blobs: Mapping[str, PreparedBlob],
        *,
        complete: bool = False,
    ) -> PreparedRecord:
        """Upload missing blobs, then build and validate the record.

        If the published record is current without blobs that are additions, these are uploaded
        only with `complete`. Raises PermanentError for an invalid record, and the errors of
        `AttachmentBuilder.build`.
        """
        required = blobs if complete else _without_additions(run, blobs)
        prepared = self._build(run, draft, repo, required)
        if len(required) == len(blobs) or prepared.is_current:
            return prepared
        return self._build(run, draft, repo, blobs)

    def _build(
        self, run: Run, draft: Draft, repo: Repo, blobs: Mapping[str, PreparedBlob]
    ) -> PreparedRecord:
        attachments = self.attachments.build(run, draft, repo, blobs)
        record = attachments.complete(draft)
        self.lexicons.validate(draft.nsid, record)
        key = self._key(run, draft, repo)
        return PreparedRecord(run, key, record, cid_of_record(record), attachments)

    def _key(self, run: Run, draft: Draft, repo: Repo) -> RecordKey:
        return repo.key(draft.nsid, run.state.rkey or "")

    def published_state(self, prepared: PreparedRecord) -> SyncState:
        """Build the state to save after a record is written or found current.

        It is `synced`, or `partial` with the error and the retry time if an attachment failed.
        """
        state, attachments, at = prepared.run.state, prepared.attachments, now()
        published = state._replace(
            status=Status.SYNCED,
            reason=None,
            uri=prepared.key.uri,
            cid=state.cid if prepared.is_current else prepared.cid,
            adopted=state.adopted and prepared.is_current,
            links=attachments.links,
            lost=0,
            error=None,
            synced_at=at,
            published_at=state.published_at if prepared.is_current else at,
            retry_at=None,
            held_until=None,
            remake=state.remake and any(blob.error for blob in attachments.blobs.values()),
        )
        faults = attachments.faults
        if not faults:
            return published
        error = next((e for e in faults if isinstance(e, TransientError)), faults[0])
        retry_at = decide(error, state.attempts, self.retry, at).retry_at
        failing = published._replace(error=state.error).with_error(Failure.of(error, at))
        return failing._replace(status=Status.PARTIAL, retry_at=retry_at)

    def _prepare(self, run: Run, draft: Draft, repo: Repo, *, complete: bool) -> PreparedRecord:
        blobs = self.attachments.prepare(run, draft)
        prepared = self.build_record(run, draft, repo, blobs, complete=complete)
        run.report_step(f"the record is valid {draft.nsid}")
        return prepared

    def _reserve_key(self, run: Run, nsid: str, repo: Repo, refused: Container[str]) -> None:
        """Save a free record key on the document before its record is written.

        If a legacy document has a record at its key, the CID and the blobs are saved too. Raises
        RecordNotProvenError if that record belongs to another document.
        """
        if is_reserved(run.state, repo.did):
            return
        existing = self._find_existing(run, nsid, repo)
        for rkey in candidate_rkeys(run.document):
            if rkey in refused:
                continue
            state = run.state._replace(repo=repo.did, rkey=rkey)
            if existing and existing.rkey == rkey:
                rules = self.lexicons.blob_rules(nsid)
                blobs = adopt_blobs(existing.value, rules, state.blobs)
                found = state._replace(uri=existing.uri, cid=existing.cid, blobs=blobs)
                state = found._replace(adopted=True)
                run.release_key(repo.key(nsid, rkey))
            with suppress(RecordKeyTakenError):
                run.save(state)
                run.report_step(f"rkey {rkey} reserved in {repo.did}")
                return

    def _find_existing(self, run: Run, nsid: str, repo: Repo) -> RemoteRecord | None:
        """Read the record of a legacy document; None if it is missing or names no document."""
        if not is_legacy(run.state):
            return None
        key = repo.key(nsid, run.state.rkey or "")
        record = repo.get(key)
        check_owner(run, key, record)
        return record if record and record.ref else None

    def _is_published(self, run: Run, repo: Repo, key: RecordKey) -> bool:
        """Return whether the repo has the record of the state; if not, correct the state.

        The document may have been inserted again after its record was removed, or its account may
        have moved while the old PDS still accepted writes.
        """
        record = repo.get(key)
        check_owner(run, key, record)
        if record and record.cid == run.state.cid:
            return True
        run.report_step(f"the repo has {record.cid if record else 'no record'}")
        cid = record.cid if record else None
        run.set_state(run.state._replace(uri=record.uri if record else None, cid=cid))
        return False

    def _write_and_repair(
        self, repo: Repo, draft: Draft, prepared: PreparedRecord
    ) -> PreparedRecord:
        """Write a record; if the PDS refuses its blobs, correct them and write again."""
        run = prepared.run
        for _ in range(_MAX_REPAIRS):
            try:
                self._write(repo, prepared)
            except BlobNotFoundError:
                run.report_step("the PDS no longer has a blob: uploading again")
                run.save(run.state._replace(blobs={}))
                prepared = self._prepare(run, draft, repo, complete=True)
            except BlobTypeConflictError as error:
                run.report_step(error.message)
                prepared = self._with_stored_type(draft, prepared, error)
            else:
                return prepared
        self._write(repo, prepared)
        return prepared

    def _with_stored_type(
        self, draft: Draft, prepared: PreparedRecord, error: BlobTypeConflictError
    ) -> PreparedRecord:
        """Return the record with the type that the PDS has for a blob.

        If its lexicon does not accept that type, the record is published without the blob. Raises
        PermanentError if the blob is required.
        """
        rules, blobs = self.lexicons.blob_rules(draft.nsid), dict(prepared.attachments.blobs)
        faults: list[MediaError] = list(prepared.attachments.faults)
        for name, blob in prepared.attachments.blobs.items():
            if error.sent not in {None, blob.mime_type}:
                continue
            if error.stored and rules[name].accepts(error.stored):
                blobs[name] = replace(blob, mime_type=error.stored)
            else:
                blobs[name] = BlobState(error=Failure.of(error, now()))
                faults.append(error)
        prepared.run.save(prepared.run.state._replace(blobs=blobs))
        attachments = replace(prepared.attachments, blobs=blobs, faults=tuple(faults))
        record = attachments.complete(draft)
        self.lexicons.validate(draft.nsid, record)
        return replace(prepared, record=record, cid=cid_of_record(record), attachments=attachments)

    def _write(self, repo: Repo, prepared: PreparedRecord) -> None:
        run, key = prepared.run, prepared.key
        cid = run.state.cid
        if cid:  # without, the write fails if there is a record
            read_replaced(run, repo, key)
        run.begin_write(key)
        run.report_step(f"writing to {key.uri}")
        try:
            ref = repo.put(key, prepared.record, swap=cid if cid and is_record_cid(cid) else None)
        except RecordConflictError:
            current = read_replaced(run, repo, key)
            run.report_step(f"the record was at {current.cid if current else 'no version'}")
            run.save(run.state)  # raises if the lease is lost
            ref = repo.put(key, prepared.record, swap=current.cid if current else None)
        if ref.cid != prepared.cid:
            message = f"the PDS saved {key.uri} as {ref.cid}, which is not the CID of the record"
            raise TransientError(message, step="write", code="record_altered")
        # A forced write of the same version is no new publication.
        published_at = run.state.published_at if ref.cid == cid else now()
        written = run.state._replace(uri=ref.uri, cid=ref.cid, published_at=published_at)
        run.set_state(written._replace(adopted=False))
        run.report_step(f"written: {ref.uri} {ref.cid}")
