"""Documents as a platform has collected them over the years: nobody has published any yet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, groupby, islice

from bson import ObjectId

from bench.place import Author, Place
from worker.database.mongo import RawDocument
from worker.dev.demo.scenes import MOODS, PROGRAMS
from worker.media import media_type

TEXT_TYPES = ("mood", "piece", "kidlisp")
_FIRST_DAY = datetime(2021, 3, 1, tzinfo=UTC)
_BUCKET = "user-aesthetic-computer"
_CHUNK = 1000
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class Document:
    """A document of one of the platform's collections, and whose it is."""

    type: str
    author: Author
    raw: RawDocument


class Archive:
    """Makes documents that are years old, an hour apart; the same ones in every run."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def texts(self, authors: Sequence[Author], number: int) -> list[Document]:
        """Return moods, pieces without a file and KidLisp programs in equal parts."""
        rounds = (TEXT_TYPES[n // len(authors) % len(TEXT_TYPES)] for n in range(number))
        return [self._new(name, authors[n % len(authors)]) for n, name in enumerate(rounds)]

    def moods(self, authors: Sequence[Author], number: int) -> Iterator[Document]:
        """Go through so many new moods, the authors in turn."""
        return (self._new("mood", authors[n % len(authors)]) for n in range(number))

    def paintings(self, authors: Sequence[Author], number: int) -> list[Document]:
        """Return paintings, the authors in turn; their images belong into `<slug>.png`."""
        return [self._new("painting", authors[n % len(authors)]) for n in range(number)]

    def _new(self, name: str, author: Author) -> Document:
        number = next(self._numbers)
        when = _FIRST_DAY + timedelta(hours=number % 40_000, milliseconds=number % 1000)
        raw = {"_id": _object_id(when, number), **_FIELDS[name](number), "when": when}
        return Document(name, author, raw | {"user": author.subject})


def insert(place: Place, documents: Iterator[Document]) -> None:
    """Save documents as they are, a thousand at a time, in their order.

    They are years old, so the disk has nothing left to do with them, nor with their files.
    """
    while chunk := list(islice(documents, _CHUNK)):
        chunk.sort(key=lambda document: document.type)
        for name, same in groupby(chunk, key=lambda document: document.type):
            collection = place.services.database[media_type(name).collection]
            collection.insert_many([document.raw for document in same], ordered=False)
    place.services.database.client.admin.command("fsync")
    os.sync()


def _object_id(when: datetime, number: int) -> ObjectId:
    seconds = int(when.timestamp()).to_bytes(4)
    return ObjectId(seconds + b"bench" + number.to_bytes(3))


def _mood(number: int) -> Mapping[str, object]:
    return {"mood": f"{MOODS[number % len(MOODS)]} ({number})"}


def _piece(number: int) -> Mapping[str, object]:
    return {"slug": f"piece-{number}", "code": _code(number)}


def _kidlisp(number: int) -> Mapping[str, object]:
    source = f"; {number}\n{PROGRAMS[number % len(PROGRAMS)]}"
    return {"code": _code(number), "source": source, "hash": f"{number:064x}", "hits": 1}


def _painting(number: int) -> Mapping[str, object]:
    return {"slug": f"painting-{number}", "code": _code(number), "bucket": _BUCKET}


def _code(number: int) -> str:
    """Return a number as a short code of the platform's."""
    code = ""
    while number:
        number, digit = divmod(number, len(_LETTERS))
        code = _LETTERS[digit] + code
    return code


_FIELDS = {"mood": _mood, "piece": _piece, "kidlisp": _kidlisp, "painting": _painting}
