"""Bulk writes that are ready to be sent: what the PDS takes for them is what nothing can avoid."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.bulk.documents import Document
from bench.place import Author, Place
from worker.core.cid import cid_of_blob
from worker.core.documents import Account
from worker.core.record_keys import tid_for
from worker.core.secrets import Secret
from worker.files.thumbnail import MIME_TYPE
from worker.media import media_type

_BATCH = 100

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Batch:
    """A body of applyWrites for an author's repo, and the blobs that have to be there before."""

    author: Author
    body: bytes = field(repr=False)
    blobs: tuple[bytes, ...] = field(default=(), repr=False)


def text_batches(place: Place, documents: Sequence[Document]) -> list[Batch]:
    """Return the writes of documents without blobs, in batches of a hundred."""
    pairs = ((document, None) for document in documents)
    return list(_batches(place, pairs))


def painting_batches(
    place: Place, documents: Sequence[Document], thumbnails: Sequence[bytes]
) -> list[Batch]:
    """Return the writes of paintings, each with its thumbnail, in batches of a hundred."""
    return list(_batches(place, zip(documents, thumbnails, strict=True)))


def record_of(place: Place, document: Document) -> dict[str, object]:
    """Return a document's record, its blobs apart."""
    kind = media_type(document.type)
    value = place.services.store.parse(kind, document.raw)
    author = document.author
    name = author.handle.removesuffix(".test")
    account = Account(author.subject, author.did, author.handle, Secret(author.password), name)
    return dict(kind.draft(value, account, place.services.publisher.site).fields)


def blob_ref(data: bytes) -> Record:
    """Return what a record refers to a thumbnail by."""
    ref = {"$link": cid_of_blob(data)}
    return {"$type": "blob", "ref": ref, "mimeType": MIME_TYPE, "size": len(data)}


def _batches(place: Place, pairs: Iterable[tuple[Document, bytes | None]]) -> Iterator[Batch]:
    """Go through the authors in turn, a batch of each, until all have been sent."""
    waiting: dict[Author, list[tuple[Document, bytes | None]]] = defaultdict(list)
    for document, blob in pairs:
        waiting[document.author].append((document, blob))
    while waiting:
        for author, own in list(waiting.items()):
            yield _batch(place, author, own[:_BATCH])
            waiting[author] = own[_BATCH:]
        waiting = defaultdict(list, {a: own for a, own in waiting.items() if own})


def _batch(place: Place, author: Author, pairs: Sequence[tuple[Document, bytes | None]]) -> Batch:
    writes = [_write(place, document, blob) for document, blob in pairs]
    body = {"repo": author.did, "validate": False, "writes": writes}
    blobs = tuple(blob for _, blob in pairs if blob is not None)
    return Batch(author, json.dumps(body, ensure_ascii=False).encode(), blobs)


def _write(place: Place, document: Document, blob: bytes | None) -> Record:
    item, when = document.raw["_id"], document.raw["when"]
    blobs = {} if blob is None else {"thumbnail": blob_ref(blob)}
    return {
        "$type": "com.atproto.repo.applyWrites#create",
        "collection": media_type(document.type).nsid,
        "rkey": tid_for(item, when),  # type: ignore[arg-type]
        "value": record_of(place, document) | blobs,
    }
