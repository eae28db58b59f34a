"""What a bulk command has achieved, by the documents' own word and by what the repos hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import libipld

from bench.place import Author, Place
from bench.raw import RawPds
from worker.database.mongo import RawDocument
from worker.media import media_type


@dataclass(frozen=True, slots=True)
class Span:
    """When the first of some documents was taken by a worker, and when the last was published."""

    documents: int
    first_taken: datetime
    last_published: datetime

    def rate_since(self, start: datetime) -> float:
        """Return documents a second, from a moment on."""
        return self.documents / (self.last_published - start).total_seconds()


def span_of(place: Place, types: Iterable[str], authors: Sequence[Author], number: int) -> Span:
    """Return when the authors' documents were published.

    Raises RuntimeError unless there are so many, all of them `synced` and each with exactly one
    record.
    """
    states = [state for name in types for state in _states(place, name, authors)]
    statuses = Counter(str(state.get("status")) for state in states)
    if statuses != {"synced": number}:
        raise RuntimeError(f"{number} documents should be synced: {dict(statuses)}")
    _check_records(place, authors, number)
    return Span(number, min(_moments(states, "attemptedAt")), max(_moments(states, "syncedAt")))


def _states(place: Place, name: str, authors: Sequence[Author]) -> list[RawDocument]:
    collection = place.services.database[media_type(name).collection]
    match = {"user": {"$in": [author.subject for author in authors]}}
    found = collection.find(match, {"atproto": 1})
    return [state if isinstance(state := raw.get("atproto"), dict) else {} for raw in found]


def _moments(states: Iterable[RawDocument], name: str) -> list[datetime]:
    return [moment for state in states if isinstance(moment := state.get(name), datetime)]


def _check_records(place: Place, authors: Sequence[Author], number: int) -> None:
    with closing(RawPds(place.pds_url)) as pds:
        refs = [ref for author in authors for ref in _refs(pds.export(author.did))]
    if len(refs) != number or len(set(refs)) != number:
        raise RuntimeError(f"{number} records should be there: {len(refs)}, {len(set(refs))} refs")


def _refs(car: bytes) -> list[str]:
    _, blocks = libipld.decode_car(car)
    return [block["ref"] for block in blocks.values() if "ref" in block]
