"""A run over one claimed document, and the document's state as the run saves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from worker.core.clock import after
from worker.core.documents import BlobState, MediaDocument, SyncState
from worker.core.records import RecordKey
from worker.database.store import DocumentStore, LeaseLostError
from worker.media import MediaType
from worker.telemetry.alerts import AffectedItem

Observer = Callable[[str], None]

_WRITE_MARGIN = 20  # seconds; longer than a call to the PDS can take


def ignore_step(_step: str) -> None:
    """Ignore a step."""


@dataclass(slots=True, eq=False)
class Run:
    """A claimed document whose state advances with each step that succeeds.

    A buffered run saves nothing before it ends: a batch saves all its states at once. If the
    worker dies, what is lost (uploads that no record refers to yet) is done again. `did` is the
    account's, None if there is no account. `report_step` is called with each step. `written` are
    the URIs that the run may have written to.
    """

    _store: DocumentStore
    kind: MediaType
    document: MediaDocument
    did: str | None = None
    buffered: bool = False
    report_step: Observer = ignore_step
    written: set[str] = field(default_factory=set)

    def unbuffered(self, did: str | None) -> Run:
        """Return a run of the account `did` over the same document that saves each step."""
        return replace(self, did=did, buffered=False, written=set(self.written))

    @property
    def affected(self) -> AffectedItem:
        ref, state = self.document.ref, self.state
        return AffectedItem(ref.type, str(ref.id), self.did or state.repo, state.attempts)

    @property
    def state(self) -> SyncState:
        return self.document.state

    def save(self, state: SyncState) -> None:
        """Save a step's result; raises LeaseLostError if another run has taken over."""
        if self.buffered:
            self.set_state(state)
        else:
            self.document = self._store.save(self.kind, self.document, state)

    def set_state(self, state: SyncState) -> None:
        """Set a step's result without saving it yet: a later step saves or repeats it."""
        self.document = replace(self.document, state=state)

    def begin_write(self, key: RecordKey) -> None:
        """Note that a record is about to be written or deleted, with an unknown result.

        Raises LeaseLostError if the lease ends before the call: a newer run could write first.
        """
        lease = self.state.lease
        if lease is None or lease.until < after(_WRITE_MARGIN):
            raise LeaseLostError(f"{self.document.ref}: the lease ends too soon to start a write")
        self.written.add(key.uri)

    def save_blob(self, name: str, blob: BlobState) -> None:
        self.save(replace(self.state, blobs={**self.state.blobs, name: blob}))
