"""Publishing one document: identity first, then blobs, then the record, each step kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from worker.core.cid import cid_of_record, is_record_cid
from worker.core.clock import now
from worker.core.documents import Account, Failure, Status, SyncState
from worker.core.errors import TransientError
from worker.core.record_keys import next_tid, tid_for
from worker.core.records import RecordKey
from worker.core.settings import RetrySettings
from worker.database.store import RecordKeyTakenError
from worker.media.base import Draft, SiteUrls
from worker.media.validation import Lexicons
from worker.pds.errors import BlobNotFoundError, RecordConflictError
from worker.pds.repo import Repo
from worker.sync.attachments import AttachmentBuilder, Attachments
from worker.sync.retry import retry_time
from worker.sync.run import Run

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Publisher:
    """Makes a repo's record match a document."""

    parts: AttachmentBuilder
    lexicons: Lexicons
    site: SiteUrls
    retry: RetrySettings

    def publish(self, run: Run, account: Account, repo: Repo, *, force: bool) -> SyncState:
        """Publish the run's document to an account's repo; return its state.

        With `force` the record is written even when it is known to be as it should. Raises the
        errors of builders, validation, sessions and the PDS.
        """
        draft = run.kind.draft(run.document, account, self.site)
        key = self._reserve(run, repo, draft.nsid)
        parts = self._build_attachments(run, draft, repo)
        record = self._build_record(run, draft, parts)
        in_doubt = force or key.uri in run.state.strays
        if run.state.cid == cid_of_record(record) and not in_doubt:
            run.say("the record is as it should be: nothing to write")
        else:
            parts = self._write_healing(run, repo, key, draft, parts)
        return self.published_state(run.state, key, run.state.cid, parts)

    def _reserve(self, run: Run, repo: Repo, nsid: str) -> RecordKey:
        """Put the rkey on the document before any record of it can be on the PDS."""
        if run.state.repo == repo.did and run.state.rkey:
            return repo.key(nsid, run.state.rkey)
        derived = tid_for(run.document.ref.id, run.document.fields.moment("when"))
        for rkey in _candidate_keys(run.state.rkey, derived):
            with suppress(RecordKeyTakenError):
                run.save(replace(run.state, repo=repo.did, rkey=rkey))
                run.say(f"rkey {rkey} reserved in {repo.did}")
                return repo.key(nsid, rkey)
        raise AssertionError("there are always more candidates")

    def _build_attachments(self, run: Run, draft: Draft, repo: Repo) -> Attachments:
        return self.parts.build(run, draft, repo, self.parts.prepare(run, draft))

    def _build_record(self, run: Run, draft: Draft, parts: Attachments) -> Record:
        record = parts.complete(draft)
        self.lexicons.validate(draft.nsid, record)
        run.say(f"the record is valid {draft.nsid}")
        return record

    def _write_healing(
        self, run: Run, repo: Repo, key: RecordKey, draft: Draft, parts: Attachments
    ) -> Attachments:
        try:
            self._write(run, repo, key, parts.complete(draft))
        except BlobNotFoundError:
            run.say("the PDS no longer has a blob: uploading again")
            run.save(replace(run.state, blobs={}))
            parts = self._build_attachments(run, draft, repo)
            self._write(run, repo, key, self._build_record(run, draft, parts))
        return parts

    def _write(self, run: Run, repo: Repo, key: RecordKey, record: Record) -> None:
        run.begin_write(key)
        run.say(f"writing to {key.uri}")
        try:
            ref = repo.put(key, record, swap=_version(run.state))
        except RecordConflictError:
            current = repo.get(key)
            run.say(f"the record was at {current.cid if current else 'no version'}: deciding again")
            run.save(run.state)  # still ours to write?
            ref = repo.put(key, record, swap=current.cid if current else None)
        if ref.cid != cid_of_record(record):
            message = f"the PDS keeps {key.uri} as {ref.cid}, which is not what was sent"
            raise TransientError(message, step="write", code="record_altered")
        run.set_state(replace(run.state, uri=ref.uri, cid=ref.cid))
        run.say(f"written: {ref.uri} {ref.cid}")

    def published_state(
        self, state: SyncState, key: RecordKey, cid: str | None, parts: Attachments
    ) -> SyncState:
        """Return the state of a document whose record, with these parts, is in the repo."""
        up = replace(
            state,
            status=Status.SYNCED,
            reason=None,
            uri=key.uri,
            cid=cid,
            links=parts.links,
            lost=0,
            error=None,
            synced_at=now(),
            retry_at=None,
            held_until=None,
        )
        if not parts.faults:
            return up
        error = next((e for e in parts.faults if isinstance(e, TransientError)), parts.faults[0])
        hopeful = isinstance(error, TransientError)
        retry_at = retry_time(state.attempts, self.retry, now()) if hopeful else None
        failure = Failure.of(error, now())
        return replace(up, status=Status.PARTIAL, error=failure, retry_at=retry_at)


def _version(state: SyncState) -> str | None:
    """Return the version that a write replaces, None where the state names none that can be."""
    return state.cid if state.cid and is_record_cid(state.cid) else None


def _candidate_keys(kept: str | None, derived: str) -> Iterator[str]:
    """Go through the rkeys to try: the one that a document has, then its TID and those after."""
    if kept:
        yield kept
    while True:
        yield derived
        derived = next_tid(derived)
