"""Removing the records of findings: those that nothing has happened to since they were found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.core.clock import after
from worker.core.documents import MediaDocument, Status
from worker.core.records import RecordKey
from worker.database.leases import is_held
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.operations.audit.classification import WIPED
from worker.operations.audit.findings import Fault, Finding
from worker.operations.audit.orphans import ids_of
from worker.pds.record_deleter import RecordDeleter
from worker.pds.repo import Repo

_CHUNK = 100
_BLOBS = frozenset({Fault.BLOB_MISSING, Fault.BLOB_TRUNCATED})


@dataclass(frozen=True, slots=True)
class RemovedRecords:
    """A batch of removals: how many records, and the findings whose documents lost theirs."""

    records: int
    orphaned_documents: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class RecordRemoval:
    """Removes records, and has the states of their documents say so.

    Those are pending for `lease` seconds, when the sweep sees to them at the latest.
    """

    store: DocumentStore
    state_updates: StateUpdates
    record_deleter: RecordDeleter
    lease: float

    def remove(
        self, repo: Repo, kind: MediaType, findings: Sequence[Finding]
    ) -> Iterator[RemovedRecords]:
        """Remove the records of findings; yield what was done, batch by batch.

        Raises as `RecordDeleter.delete` does; what was yielded before is done.
        """
        for start in range(0, len(findings), _CHUNK):
            found = self._find_unchanged(kind, findings[start : start + _CHUNK])
            by_key = {finding.key: finding for finding in found if finding.key}
            for keys in self.record_deleter.delete(repo, list(by_key)):
                orphaned_documents = [by_key[key] for key in keys if _is_orphaned(by_key[key], key)]
                self._update_states(kind, orphaned_documents)
                yield RemovedRecords(len(keys), orphaned_documents)

    def _find_unchanged(self, kind: MediaType, findings: Sequence[Finding]) -> list[Finding]:
        """Leave out the findings whose documents have changed since, or are at work."""
        ids = {finding.document.ref.id for finding in findings if finding.document}
        ids |= {each for finding in findings for each in ids_of(finding.ref)}
        there = {str(each.ref.id): each for each in self.store.find_all(kind, list(ids))}
        return [finding for finding in findings if _is_as_found(finding, there)]

    def _update_states(self, kind: MediaType, orphaned_documents: Sequence[Finding]) -> None:
        state_updates = [
            StateUpdate(
                finding.document,
                finding.key.repo,
                finding.key.rkey,
                cid=None,
                drop_blobs=finding.fault in _BLOBS,
            )
            for finding in orphaned_documents
            if finding.document and finding.key
        ]
        told = self.state_updates.apply(kind, state_updates, retry_at=after(self.lease))
        if told < len(state_updates):
            # A run that took one over meanwhile may have found its record in place still.
            for state_update in state_updates:
                key = RecordKey(state_update.repo, kind.nsid, state_update.rkey)
                self.store.add_stray_write(kind, state_update.document, key.uri)


def _is_as_found(finding: Finding, there: Mapping[str, MediaDocument]) -> bool:
    before = finding.document
    if before is None:
        return (finding.ref or "") not in there
    current = there.get(str(before.ref.id))
    return (
        current is not None
        and not is_held(current, holder="")
        and current.fingerprint == before.fingerprint
        and current.state.attempted_at == before.state.attempted_at
    )


def _is_orphaned(finding: Finding, key: RecordKey) -> bool:
    """Tell whether a document's state names the record that was removed, and must not any more."""
    if finding.document is None:
        return False
    state = finding.document.state
    if state.status is Status.REMOVED and state.reason in WIPED:
        return False  # says so already
    return state.rkey == key.rkey and state.repo in {None, key.repo}
