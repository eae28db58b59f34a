"""One run over one claimed document: what is known of it now, kept in MongoDB on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from worker.core.clock import after
from worker.core.documents import BlobState, MediaDocument, SyncState
from worker.core.records import RecordKey
from worker.database.store import DocumentStore, LeaseLostError
from worker.media import MediaType
from worker.telemetry.alerts import AffectedItem

Observer = Callable[[str], None]

_WRITE_MARGIN = 20  # seconds; longer than a call to the PDS can take


def ignore_step(_step: str) -> None:
    """Take no notice of a step."""


class Run:
    """A claimed document whose state moves forward as steps succeed.

    A buffered run saves nothing before it ends: a batch saves all its states at once, and what is
    lost with a worker that dies (uploads that no record refers to yet) is done again. `did` is
    the account's, None if there is no account. `report_step` is called with each step.
    """

    def __init__(
        self,
        store: DocumentStore,
        kind: MediaType,
        document: MediaDocument,
        *,
        did: str | None = None,
        buffered: bool = False,
        report_step: Observer = ignore_step,
    ) -> None:
        self._store = store
        self._buffered = buffered
        self.kind = kind
        self.claimed = document
        self.document = document
        self.did = did
        self.report_step = report_step
        self.written: set[str] = set()

    def unbuffered(self, did: str | None) -> Run:
        """Return a run of the account `did` over the same document that saves each step."""
        run = Run(self._store, self.kind, self.document, did=did, report_step=self.report_step)
        run.written |= self.written
        return run

    @property
    def affected(self) -> AffectedItem:
        """Return what people are told of the item that this run is about."""
        ref, state = self.document.ref, self.state
        return AffectedItem(ref.type, str(ref.id), self.did or state.repo, state.attempts)

    @property
    def state(self) -> SyncState:
        """Return the state as it is in MongoDB now."""
        return self.document.state

    def save(self, state: SyncState) -> None:
        """Keep a step's result; raises LeaseLostError when another run has taken over."""
        if self._buffered:
            self.set_state(state)
        else:
            self.document = self._store.save(self.kind, self.document, state)

    def set_state(self, state: SyncState) -> None:
        """Take over a step's result without keeping it yet: what follows does, or repeats it."""
        self.document = replace(self.document, state=state)

    def begin_write(self, key: RecordKey) -> None:
        """Note that a record is about to be put or deleted; its outcome may never be known.

        Raises LeaseLostError when the lease would end before the call has: what is begun then
        could land after a newer run's.
        """
        lease = self.state.lease
        if lease is None or lease.until < after(_WRITE_MARGIN):
            raise LeaseLostError(f"{self.document.ref}: too little time is left to write")
        self.written.add(key.uri)

    def save_blob(self, name: str, blob: BlobState) -> None:
        """Keep the state of one blob field."""
        self.save(replace(self.state, blobs={**self.state.blobs, name: blob}))
