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

    A buffered run does not keep what it saves before it ends: a batch keeps all its states at once,
    and what is lost with a worker that dies (uploads that no record refers to yet) is done again.
    `did` is the account's, as soon as that is known.
    """

    def __init__(
        self, store: DocumentStore, kind: MediaType, document: MediaDocument, observer: Observer
    ) -> None:
        self._store = store
        self.kind = kind
        self.document = document
        self.say = observer
        self.written: set[str] = set()
        self.buffered = False
        self.did: str | None = None

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
        if self.buffered:
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
