"""The old way to publish many items: for each a login, its blob and one createRecord."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from bench.bulk.documents import Document
from bench.bulk.ready import record_of
from bench.place import Author, Place
from bench.raw import RawPds
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail
from worker.media import media_type

_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class OldItem:
    """An item whose record is ready but for the thumbnail of its picture, if it has one."""

    author: Author
    collection: str
    record: dict[str, object]
    picture: bytes | None = field(default=None, repr=False)


def old_item(place: Place, document: Document, picture: bytes | None = None) -> OldItem:
    """Return a document as the old way publishes it."""
    nsid = media_type(document.type).nsid
    return OldItem(document.author, nsid, record_of(place, document), picture)


def old_seconds(url: str, items: Sequence[OldItem]) -> float:
    """Return how long the old way takes to publish items, ten at a time."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        start = time.perf_counter()
        list(pool.map(lambda item: _publish(url, item), items))
        return time.perf_counter() - start


def _publish(url: str, item: OldItem) -> None:
    author = item.author
    with closing(RawPds(url)) as pds:
        token = pds.log_in(author.handle, author.password)
        record = dict(item.record)
        if item.picture is not None:
            thumbnail = make_thumbnail(item.picture, ThumbnailSettings())
            record["thumbnail"] = pds.upload(token, thumbnail.data)
        key = {"repo": author.did, "collection": item.collection}
        pds.create(token, json.dumps(key | {"record": record, "validate": False}).encode())
