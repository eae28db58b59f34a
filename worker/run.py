"""One run over one claimed document: what is known of it now, kept in MongoDB on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from worker.documents import BlobState, MediaDocument, SyncState
from worker.media import MediaType
from worker.store import Store

Observer = Callable[[str], None]


def unobserved(_step: str) -> None:
    """Take no notice of a step."""


class Run:
    """A claimed document whose state moves forward as steps succeed."""

    def __init__(
        self, store: Store, kind: MediaType, document: MediaDocument, observer: Observer
    ) -> None:
        self._store = store
        self.kind = kind
        self.document = document
        self.say = observer

    @property
    def state(self) -> SyncState:
        """Return the state as it is in MongoDB now."""
        return self.document.state

    def save(self, state: SyncState) -> None:
        """Keep a step's result; raises LeaseLostError when another run has taken over."""
        self.document = self._store.save(self.kind, self.document, state)

    def note(self, state: SyncState) -> None:
        """Take over a step's result without keeping it yet: what follows does, or repeats it."""
        self.document = replace(self.document, state=state)

    def save_blob(self, name: str, blob: BlobState) -> None:
        """Keep the state of one blob field."""
        self.save(replace(self.state, blobs={**self.state.blobs, name: blob}))
