"""Process one claimed document, and save its state after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from worker.core.clock import after
from worker.core.documents import BlobState, MediaDocument, SyncState
from worker.core.records import RecordKey
from worker.database.document_refs import is_named
from worker.database.store import DocumentStore, LeaseLostError
from worker.media import MediaType
from worker.telemetry.alerts import AffectedItem

Observer = Callable[[str], None]

_WRITE_MARGIN = 20  # seconds; longer than a call to the PDS can take


def ignore_step(_step: str) -> None:
    """Discard a step; the default observer."""


@dataclass(slots=True, eq=False)
class Run:
    """The processing of one claimed document.

    A buffered run keeps its state in memory, because a batch saves all states at its end. If the
    worker dies, a later run repeats the unsaved uploads. `did` is the DID of the owner's account,
    or None. `report_step` is called with a description of each step. `written` holds the URIs of
    records that the run may have written or deleted, `replaced` the CIDs of the blobs in records
    that it may have replaced.
    """

    _store: DocumentStore
    kind: MediaType
    document: MediaDocument
    did: str | None = None
    buffered: bool = False
    report_step: Observer = ignore_step
    written: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)

    def unbuffered(self, did: str | None) -> Run:
        """Return a copy of the run for the account `did` that saves each step."""
        return replace(self, did=did, buffered=False, written=set(self.written))

    @property
    def affected(self) -> AffectedItem:
        ref, state = self.document.ref, self.state
        return AffectedItem(ref.type, str(ref.id), self.did or state.repo, state.attempts)

    @property
    def state(self) -> SyncState:
        return self.document.state

    def save(self, state: SyncState) -> None:
        """Set the state, and save it unless buffered; raises as `DocumentStore.save`."""
        if self.buffered:
            self.set_state(state)
        else:
            self.document = self._store.save(self.kind, self.document, state)

    def set_state(self, state: SyncState) -> None:
        """Set the state in memory only.

        A later save writes it. If the run dies first, the next run repeats the step.
        """
        self.document = self.document._replace(state=state)

    def is_named_by(self, ref: str | None, repo: str) -> bool:
        """Return whether `ref` of a record in `repo` names the document."""
        is_own = repo == self.did
        return is_named(self._store, self.kind, self.document, ref, in_own_repo=is_own)

    def release_key(self, key: RecordKey) -> None:
        """Take a record key from other documents; the record there names this one."""
        self._store.release_key(self.kind, key.repo, key.rkey, self.document.ref.id)

    def begin_write(self, key: RecordKey) -> None:
        """Add a record to `written` before a call to the PDS writes or deletes it.

        Raises LeaseLostError if the lease could expire during the call.
        """
        lease = self.state.lease
        if lease is None or lease.until < after(_WRITE_MARGIN):
            raise LeaseLostError(f"{self.document.ref}: the lease ends too soon to start a write")
        self.written.add(key.uri)

    def save_blob(self, name: str, blob: BlobState) -> None:
        self.save(self.state._replace(blobs={**self.state.blobs, name: blob}))
