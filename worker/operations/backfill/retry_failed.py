"""Retry items that failed: select them, give them all attempts again, and enqueue them.

The terminal and the status page use the same code.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest

from worker.app import app
from worker.core.clock import after
from worker.core.documents import DocumentId, ItemRef, OwnedItem
from worker.core.ids import as_document_id, message_id, parse_id
from worker.database.backlog import FAILED, TROUBLE, Backlog, not_held, with_code
from worker.database.indexes import require_index
from worker.database.leases import is_held
from worker.database.mongo import RawDocument
from worker.database.store import DocumentStore
from worker.media import MediaType, media_type
from worker.media.validation import Lexicons
from worker.queue.names import BULK, SWEEP
from worker.services import Services

_CHUNK = 20_000  # among so many items an owner's are gathered, some 10 MB
_READ_SIZE = 1000  # left to itself, MongoDB sends 16 MB
_MAX_UPDATE = 1000
_MAX_BATCH = 100
_MAX_BATCH_WITH_BLOBS = 25  # each may have to be made and uploaded


@dataclass(frozen=True, slots=True)
class RetryBatch:
    """Items of one type and owner, for one message."""

    type: str
    owner: str
    ids: Sequence[DocumentId]


Send = Callable[[RetryBatch], bool]


@dataclass(slots=True)
class NamedItems:
    """What ids that a person gave stand for; each id is in one of the lists."""

    items: list[OwnedItem] = field(default_factory=list)
    busy: list[ItemRef] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    ambiguous: list[tuple[str, Sequence[str]]] = field(default_factory=list)


@dataclass(slots=True)
class RetryTotals:
    """What became of items: messages taken by the queue, items by type, those left to a sweep."""

    messages: int = 0
    enqueued: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


class RetryFailed:
    """Finds items that failed and has them tried again.

    `requeue` is for how many seconds sweeps leave them to their messages. Finding an item costs
    one document read, reviving it a write: a thousand a second. All methods raise as Overview
    does.
    """

    def __init__(
        self, store: DocumentStore, backlog: Backlog, lexicons: Lexicons, *, requeue: float
    ) -> None:
        self._store = store
        self._backlog = backlog
        self._lexicons = lexicons
        self._requeue = requeue

    def find_failed(self, kind: MediaType, codes: Sequence[str] = ()) -> Iterator[OwnedItem]:
        """Go through the items of a type that are failed or partial and no run is at work on.

        With `codes` only those with one of these as their error's.
        """
        match: RawDocument = {"atproto.status": {"$in": list(FAILED)}, **not_held()}
        for code in codes or (None,):
            coded = match if code is None else match | with_code(code)
            with require_index():
                found = self._store.collection(kind).find(coded, {"user": 1}).hint(TROUBLE)
                for raw in found.batch_size(_READ_SIZE):
                    if as_document_id(raw["_id"]) is not None:  # of another id no message can speak
                        yield self._store.to_owned_item(kind, raw)

    def find_named(self, kinds: Sequence[MediaType], ids: Iterable[str]) -> NamedItems:
        """Look ids up in all these types, whatever their items' status; raises InvalidIdError."""
        found = NamedItems()
        for text in dict.fromkeys(ids):
            documents = [
                document for kind in kinds if (document := self._store.find(kind, parse_id(text)))
            ]
            if len(documents) > 1:
                found.ambiguous.append((text, [document.ref.type for document in documents]))
            elif not documents:
                found.unknown.append(text)
            elif is_held(documents[0], holder=""):
                found.busy.append(documents[0].ref)
            else:
                found.items.append(OwnedItem(documents[0].ref, documents[0].owner))
        return found

    def retry(self, items: Iterable[OwnedItem], send: Send) -> RetryTotals:
        """Give items all their attempts again, and ask for them to be tried.

        `send` tells whether the queue took a message; once it has not, no more are sent, and
        the sweep finds the rest.
        """
        tally = RetryTotals()
        stream = iter(items)
        is_up = True
        while chunk := list(islice(stream, _CHUNK)):
            # Before the messages: what is only on the document is found, what is only on the
            # queue may be lost.
            self._make_pending(chunk)
            for batch in self._batches(chunk):
                is_up = is_up and send(batch)
                (tally.enqueued if is_up else tally.skipped)[batch.type] += len(batch.ids)
                tally.messages += is_up
        return tally

    def _make_pending(self, items: Iterable[OwnedItem]) -> None:
        ids = defaultdict[str, list[DocumentId]](list)
        for item in items:
            ids[item.ref.type].append(item.ref.id)
        again = after(self._requeue)
        for name, every in ids.items():
            for start in range(0, len(every), _MAX_UPDATE):
                some = every[start : start + _MAX_UPDATE]
                self._backlog.reset_attempts(media_type(name), some, again)

    def _batches(self, items: Iterable[OwnedItem]) -> Iterator[RetryBatch]:
        """Yield the items in batches, owners in turn, so that none waits for all of another's."""
        ids = defaultdict[tuple[str, str], list[DocumentId]](list)
        for item in items:
            ids[item.ref.type, item.owner].append(item.ref.id)
        by_owner = [self._split(*whose, theirs) for whose, theirs in ids.items()]
        return (batch for batch in chain(*zip_longest(*by_owner)) if batch)

    def _split(self, type_name: str, owner: str, ids: Sequence[DocumentId]) -> list[RetryBatch]:
        blobs = self._lexicons.blob_rules(media_type(type_name).nsid)
        most = _MAX_BATCH_WITH_BLOBS if blobs else _MAX_BATCH
        return [RetryBatch(type_name, owner, ids[n : n + most]) for n in range(0, len(ids), most)]


def retry_failed_of(services: Services) -> RetryFailed:
    """Return what has items tried again."""
    requeue = services.settings.sweep.requeue
    return RetryFailed(services.store, services.backlog, services.lexicons, requeue=requeue)


def send_batch(batch: RetryBatch) -> bool:
    """Ask for a batch to be tried; a single item goes where the sweep's go.

    Returns whether the queue took the message.
    """
    ids = [message_id(item) for item in batch.ids]
    if len(ids) == 1:
        return app.submit("sync_media", (batch.type, ids[0]), SWEEP)
    return app.submit("sync_batch", (batch.type, batch.owner, ids), BULK)
