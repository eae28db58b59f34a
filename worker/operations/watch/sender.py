"""Enqueue changed documents, each once per batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from worker.core.documents import DocumentId
from worker.core.fields import is_text
from worker.core.ids import as_document_id, message_id
from worker.core.record_keys import is_rkey
from worker.core.removal_notes import removal_note
from worker.database.removals import Removals
from worker.database.store import GUEST_USERS, DocumentStore
from worker.operations.watch.change_stream import Change

_MAX_BATCH_SECONDS = 0.5  # seconds
_MAX_BATCH = 500  # documents
_MAX_SUBJECT = 512  # characters; a longer `user` has no account, and may take megabytes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Producer:
    """Functions that send a message and return whether the queue accepted it.

    The arguments of `sync` are those of the task `sync_media`.
    """

    sync: Callable[..., bool]
    sweep: Callable[[], bool]


@dataclass(slots=True)
class ChangeBatch:
    """Changes that are sent together, only the last one of each document."""

    _changes: dict[tuple[str, str], Change] = field(default_factory=dict)
    _since: float = 0.0

    def add(self, change: Change) -> None:
        """Add a change; it replaces an earlier one of the same document."""
        if not self._changes:
            self._since = time.monotonic()
        self._changes[change.kind.name, repr(change.raw_id)] = change

    def is_due(self, *, quiet: bool) -> bool:
        """Return whether to send now: the stream is quiet, or the batch is large or old."""
        is_old = time.monotonic() > self._since + _MAX_BATCH_SECONDS
        return bool(self._changes) and (quiet or is_old or len(self._changes) >= _MAX_BATCH)

    def drain(self) -> list[Change]:
        """Remove and return all changes, in the order in which their documents first changed."""
        taken, self._changes = list(self._changes.values()), {}
        return taken


@dataclass(slots=True)
class Sender:
    """Sends messages for changes."""

    store: DocumentStore
    removals: Removals
    producer: Producer
    _warned: set[str] = field(default_factory=set)

    def offer(self, change: Change) -> bool | None:
        """Enqueue a change; return whether it was accepted, None if it has no message.

        Raises StoreUnavailableError.
        """
        item = as_document_id(change.raw_id)
        if not change.is_gone:
            if item is not None:
                return self.producer.sync(change.kind.name, message_id(item))
            self.store.mark_invalid_id(change.kind, change.raw_id)
            return None
        if item is None:
            return None  # does not fit into a message, so it was never published
        owner = self._owner(change.before)
        if owner is None:
            self._warn_unknown_owner(change)
            return None
        return self._send_removal(change, item, owner)

    def _owner(self, before: Mapping[str, object] | None) -> str | None:
        """Return the subject of a deleted document, None if it is unknown."""
        if before is None:
            return None
        user = before.get("user")
        if user in GUEST_USERS:
            return self.store.guest_subject
        return user if is_text(user) and len(user) <= _MAX_SUBJECT else None

    def _send_removal(self, change: Change, item: DocumentId, owner: str) -> bool:
        # Without the document, a lost message would leave no trace of the removal.
        rkey = _rkey(change.before or {})
        note = removal_note(change.kind.name, item, user=owner, rkey=rkey)
        self.removals.save(note)
        return self.producer.sync(change.kind.name, message_id(item), owner)

    def _warn_unknown_owner(self, change: Change) -> None:
        name = change.kind.collection
        if name not in self._warned:
            self._warned.add(name)
            log.warning(
                "%s %s was deleted, and its owner is unknown: audit --repair removes its record. "
                "Enable pre-images (docs/operations.md) on %s; logged once per collection",
                change.kind.name,
                change.raw_id,
                name,
            )


def _rkey(before: Mapping[str, object]) -> str | None:
    """Return the record key of a deleted document, None if it is unknown."""
    state = before.get("atproto")
    rkey = state.get("rkey") if isinstance(state, dict) else None
    return rkey if is_text(rkey) and is_rkey(rkey) else None
