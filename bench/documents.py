"""Documents to publish, as a platform has collected them over the years."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, groupby, islice

from bson import ObjectId

from bench.harness import Author, Harness
from bench.processes import wait_until
from tasks import enqueue
from worker.database.mongo import RawDocument
from worker.media import media_type

TEXT_TYPES = ("mood", "piece", "kidlisp")
_FIRST_DAY = datetime(2021, 3, 1, tzinfo=UTC)
_BUCKET = "user-aesthetic-computer"
_CHUNK = 1000
_PRECISION = 1.0  # ms; the times of a document are cut to milliseconds, so this is added
_PAUSE = 0.03  # seconds; a random pause between saves, so that they are not in step with batches


@dataclass(frozen=True, slots=True)
class Document:
    """A document of one of the platform's collections, and the picture of a painting."""

    id: ObjectId
    type: str
    author: Author
    raw: RawDocument
    picture: bytes | None = field(default=None, repr=False)


class Archive:
    """Creates documents that are years old, an hour apart; the same ones in every run."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def texts(
        self, authors: Sequence[Author], number: int, types: Sequence[str] = ("mood",)
    ) -> Iterator[Document]:
        """Yield documents without files; authors take turns, and types after each round."""
        for n in range(number):
            name = types[n // len(authors) % len(types)]
            yield self._new(name, authors[n % len(authors)], None)

    def paintings(self, authors: Sequence[Author], pictures: Iterable[bytes]) -> Iterator[Document]:
        """Yield a painting for each picture; authors take turns."""
        for n, picture in enumerate(pictures):
            yield self._new("painting", authors[n % len(authors)], picture)

    def _new(self, name: str, author: Author, picture: bytes | None) -> Document:
        number = next(self._numbers)
        when = _FIRST_DAY + timedelta(hours=number % 40_000, milliseconds=number % 1000)
        own = ObjectId(int(when.timestamp()).to_bytes(4) + b"bench" + number.to_bytes(3))
        raw = {"_id": own, **_fields(name, number), "when": when, "user": author.subject}
        return Document(own, name, author, raw, picture)


def insert(harness: Harness, documents: Iterable[Document]) -> None:
    """Save documents in their order, and their pictures."""
    remaining = _with_stored_pictures(harness, documents)
    while chunk := list(islice(remaining, _CHUNK)):
        chunk.sort(key=lambda document: document.type)
        for name, same in groupby(chunk, key=lambda document: document.type):
            collection = harness.services.storage.database[media_type(name).collection]
            collection.insert_many([document.raw for document in same], ordered=False)


def insert_archive(harness: Harness, documents: Iterable[Document]) -> None:
    """Save documents, and write them to disk, where documents that are years old are."""
    insert(harness, documents)
    harness.services.storage.database.client.admin.command("fsync")
    os.sync()


def count_synced(harness: Harness, type_name: str, ids: Sequence[ObjectId]) -> int:
    """Return how many of the documents are published."""
    collection = harness.services.storage.database[media_type(type_name).collection]
    return collection.count_documents({"_id": {"$in": ids}, "atproto.status": "synced"})


def await_synced(
    harness: Harness, type_name: str, ids: Sequence[ObjectId], every: float = 0.02
) -> None:
    """Wait until all of the documents are published."""
    wait_until(
        lambda: count_synced(harness, type_name, ids) == len(ids),
        f"{len(ids)} {type_name}s",
        every=every,
    )


def times(states: Iterable[RawDocument], name: str) -> list[datetime]:
    """Return a point in time of each of the states that have it."""
    return [moment for state in states if isinstance(moment := state.get(name), datetime)]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from `enqueue` until a worker took the item, and until it was published."""

    taken: float
    published: float


def publish_save(harness: Harness, document: Document) -> Latency:
    """Save and enqueue a document, and wait until it is published."""
    insert(harness, [document])
    start = datetime.now(UTC)
    while not enqueue(document.type, document.id):
        pass  # on a busy machine a producer's timeout may end, and that time counts
    await_synced(harness, document.type, [document.id])
    (state,) = harness.states(document.type, {"_id": document.id})
    taken, published = times([state], "attemptedAt") + times([state], "syncedAt")
    return Latency(_since(start, taken), _since(start, published))


def latencies(
    harness: Harness,
    archive: Archive,
    authors: Sequence[Author],
    number: int,
    until: Callable[[], bool] = lambda: False,
) -> list[float]:
    """Publish moods one at a time, until there are `number` or the condition is true."""
    dice = random.Random(1)
    published: list[float] = []
    for document in archive.texts(authors, number):
        if until():
            break
        time.sleep(dice.uniform(0, _PAUSE))
        published.append(publish_save(harness, document).published)
    return published


def _since(start: datetime, moment: datetime) -> float:
    return (moment - start).total_seconds() * 1000 + _PRECISION


def _with_stored_pictures(harness: Harness, documents: Iterable[Document]) -> Iterator[Document]:
    for document in documents:
        if document.picture is not None:
            name = f"{document.raw['slug']}.png"
            author = document.author.subject
            harness.platform.store(name, document.picture, author, "painting")
        yield replace(document, picture=None)


def _fields(type_name: str, number: int) -> Mapping[str, object]:
    code = f"{number:x}"
    source = f'; {number}\n(wipe "navy") (ink "gold") (circle 64 64 (wiggle 30))'
    every: Mapping[str, Mapping[str, object]] = {
        "mood": {"mood": f"i made a creature today & it has {number} legs 🦋"},
        "piece": {"slug": f"piece-{number}", "code": code},
        "kidlisp": {"code": code, "source": source, "hash": f"{number:064x}", "hits": 1},
        "painting": {"slug": f"painting-{number}", "code": code, "bucket": _BUCKET},
    }
    return every[type_name]
