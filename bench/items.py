"""What is published: moods and paintings, each as a document to save and as raw calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from bson import ObjectId
from PIL import Image

from bench.crowd import Job
from bench.pictures import Album
from bench.place import Author, Place
from bench.raw import new_put


@dataclass(frozen=True, slots=True)
class Subject:
    """One kind of item: how it is saved, and what it costs in raw calls, which `raw` names."""

    label: str
    type: str
    raw: str
    save: Callable[[Author], ObjectId]
    job: Callable[[Author], Job]


def mood(place: Place) -> Subject:
    """Return moods: a record without blobs."""
    return Subject(
        "mood",
        "mood",
        "putRecord",
        lambda author: place.platform.save_mood("drawing on the train", author.subject),
        lambda author: Job(new_put("mood", author.did, author.token)),
    )


def painting(place: Place, label: str, pictures: Sequence[Image.Image]) -> Subject:
    """Return paintings of variations of some pictures."""
    album = Album(pictures)
    return Subject(
        label,
        "painting",
        "thumbnail + uploadBlob + putRecord",
        lambda author: _save_painting(place, author, album.next()),
        lambda author: Job(new_put("painting", author.did, author.token), album.next()),
    )


def in_turn(place: Place, number: int) -> Iterator[Author]:
    """Go through so many authors, all of them in turn."""
    return islice(cycle(place.authors), number)


def _save_painting(place: Place, author: Author, picture: bytes) -> ObjectId:
    slug = f"painting-{ObjectId()}"
    place.platform.store(f"{slug}.png", picture, author.subject)
    return place.platform.save_painting(slug, author.subject)
