"""Remove records of findings if their documents are unchanged since the audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.core.clock import after
from worker.core.documents import MediaDocument, Status
from worker.core.ids import candidate_ids
from worker.core.records import RecordKey
from worker.database.leases import is_held
from worker.database.state import RESET_REASONS
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.operations.audit.findings import Fault, Finding, document_ids
from worker.pds.record_deleter import RecordDeleter
from worker.pds.repo import Repo

_CHUNK = 100
_BLOBS = frozenset({Fault.BLOB_MISSING, Fault.BLOB_TRUNCATED})


@dataclass(frozen=True, slots=True)
class RemovedRecords:
    """The number of records removed in a batch, and findings of documents to sync."""

    records: int
    orphaned_documents: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class RecordRemoval:
    """Removes records, and updates the states that refer to them.

    Updated documents become pending; the sweep enqueues them after `lease` seconds.
    """

    store: DocumentStore
    state_updates: StateUpdates
    record_deleter: RecordDeleter
    lease: float

    def remove(
        self, repo: Repo, kind: MediaType, findings: Sequence[Finding]
    ) -> Iterator[RemovedRecords]:
        """Remove records; yield each batch; raises PDS, Redis and MongoDB errors."""
        for start in range(0, len(findings), _CHUNK):
            found = self._find_unchanged(kind, findings[start : start + _CHUNK])
            by_key = {finding.key: finding for finding in found if finding.key}
            for keys in self.record_deleter.delete(repo, list(by_key)):
                orphaned_documents = [by_key[key] for key in keys if is_orphaned(by_key[key], key)]
                self._update_states(kind, orphaned_documents)
                yield RemovedRecords(len(keys), orphaned_documents)

    def _find_unchanged(self, kind: MediaType, findings: Sequence[Finding]) -> list[Finding]:
        """Reload documents; return the findings with unchanged, unleased documents.

        They must be unchanged for a majority of MongoDB's members too.
        """
        ids = document_ids(findings) | {
            each for finding in findings for each in candidate_ids(finding.ref)
        }
        for store in (self.store, self.store.in_majority()):
            current = {str(each.ref.id): each for each in store.find_all(kind, list(ids))}
            findings = [finding for finding in findings if _is_unchanged(finding, current)]
        return list(findings)

    def _update_states(self, kind: MediaType, orphaned_documents: Sequence[Finding]) -> None:
        state_updates = [
            StateUpdate(
                finding.document,
                finding.key.repo,
                finding.key.rkey,
                cid=None,
                blobs={} if finding.fault in _BLOBS else None,
            )
            for finding in orphaned_documents
            if finding.document and finding.key
        ]
        applied = self.state_updates.apply(kind, state_updates, retry_at=after(self.lease))
        if applied < len(state_updates):
            # A run that claimed a document meanwhile may have read the record before its removal.
            for state_update in state_updates:
                key = RecordKey(state_update.repo, kind.nsid, state_update.rkey)
                self.store.add_stray_write(kind, state_update.document, key.uri)


def _is_unchanged(finding: Finding, current: Mapping[str, MediaDocument]) -> bool:
    before = finding.document
    if before is None:
        return finding.ref not in current
    latest = current.get(str(before.ref.id))
    return (
        latest is not None
        and not is_held(latest, holder="")
        and latest.fingerprint == before.fingerprint
        and latest.state.attempted_at == before.state.attempted_at
    )


def is_orphaned(finding: Finding, key: RecordKey) -> bool:
    """Return whether the state of a finding's document names a removed record."""
    if finding.document is None:
        return False
    state = finding.document.state
    if state.status is Status.REMOVED and state.reason in RESET_REASONS:
        return False
    return state.rkey == key.rkey and state.repo in {None, key.repo}
