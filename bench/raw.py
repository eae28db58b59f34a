"""Make the calls to a PDS that cannot be avoided, and time them, as ceilings and baselines.

They are prepared JSON over kept connections: no Celery, MongoDB, Redis, validation or SDK.
"""

from __future__ import annotations

import http.client
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain, zip_longest
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from bench.documents import Document
from bench.figures import seconds
from bench.harness import Author, Harness
from worker.core.cid import cid_of_blob
from worker.core.documents import Account
from worker.core.record_keys import tid_for
from worker.core.secrets import Secret
from worker.files.thumbnail import Thumbnail, ThumbnailSettings, make_thumbnail
from worker.media import media_type

_BATCH = 100
_STARTUP = 60.0
_LOOPS = 2  # a PDS is as fast as with more
_UPLOADS = 8
_LOGINS = 10
T = TypeVar("T")
R = TypeVar("R")


class RawPds:
    """One connection to a PDS."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def call(self, method: str, body: Mapping[str, object], token: str | None = None) -> Any:
        """Call a procedure with JSON."""
        return self.send(method, json.dumps(body).encode(), "application/json", token)

    def upload(self, token: str, blob: Thumbnail) -> object:
        """Upload a thumbnail, and return the reference for its record."""
        return self.send("com.atproto.repo.uploadBlob", blob.data, blob.mime_type, token)["blob"]

    def send(self, method: str, body: bytes, content_type: str, token: str | None) -> Any:
        """Call a procedure with a body that is ready."""
        headers = {"Content-Type": content_type}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._connection.request("POST", f"/xrpc/{method}", body, headers)
        return json.loads(self._answer(method))

    def export(self, repo: str) -> bytes:
        """Download a repo as a CAR file."""
        return self._query("com.atproto.sync.getRepo", did=repo)

    def blobs(self, repo: str) -> list[str]:
        """Return the CIDs of a repo's blobs, of which there are at most 1,000."""
        answer = json.loads(self._query("com.atproto.sync.listBlobs", did=repo, limit="1000"))
        return list(answer["cids"])

    def _query(self, method: str, **parameters: str) -> bytes:
        self._connection.request("GET", f"/xrpc/{method}?{urlencode(parameters)}")
        return self._answer(method)

    def _answer(self, method: str) -> bytes:
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise ConnectionError(f"{method}: {answer.status} {content[:200]!r}")
        return content


@dataclass(frozen=True, slots=True)
class RawItem:
    """A record that is ready but for its thumbnail, which is to be made of a picture."""

    author: Author
    collection: str
    rkey: str
    record: Mapping[str, object]
    picture: bytes | None = field(default=None, repr=False)

    def with_blob(self, pds: RawPds, token: str) -> Mapping[str, object]:
        """Return the complete record, after its thumbnail is made and uploaded."""
        if self.picture is None:
            return self.record
        return {**self.record, "thumbnail": pds.upload(token, thumbnail(self.picture))}


@dataclass(frozen=True, slots=True)
class RawBatch:
    """A body of `applyWrites` for an author's repo, and the blobs to upload before."""

    author: Author
    body: bytes = field(repr=False)
    blobs: Sequence[Thumbnail] = field(repr=False)


def raw_item(harness: Harness, document: Document) -> RawItem:
    """Return the record that a worker would publish for a document."""
    kind, author = media_type(document.type), document.author
    value = harness.services.storage.store.parse(kind, document.raw)
    name = author.handle.removesuffix(".test")
    account = Account(author.subject, author.did, author.handle, Secret(author.password), name)
    record = kind.draft(value, account, harness.services.media.site).fields
    rkey = tid_for(document.id, document.id.generation_time)
    return RawItem(author, kind.nsid, rkey, record, document.picture)


def publish(pds: RawPds, item: RawItem) -> None:
    """Make and upload the thumbnail, if there is a picture, and call `putRecord`."""
    token = item.author.token
    key = {"repo": item.author.did, "collection": item.collection, "rkey": item.rkey}
    rest = {"record": item.with_blob(pds, token), "validate": False, "swapRecord": None}
    pds.call("com.atproto.repo.putRecord", key | rest, token)


def publish_the_old_way(pds: RawPds, item: RawItem) -> None:
    """Log in, make and upload the thumbnail, and call `createRecord`."""
    login = {"identifier": item.author.handle, "password": item.author.password}
    token = pds.call("com.atproto.server.createSession", login)["accessJwt"]
    key = {"repo": item.author.did, "collection": item.collection}
    rest = {"record": item.with_blob(pds, token), "validate": False}
    pds.call("com.atproto.repo.createRecord", key | rest, token)


def thumbnail(picture: bytes) -> Thumbnail:
    """Return the thumbnail that a worker makes of a picture."""
    return make_thumbnail(picture, ThumbnailSettings())


def batches(items: Iterable[RawItem], thumbnails: Iterable[Thumbnail | None]) -> list[RawBatch]:
    """Return the writes of items in batches of a hundred, the authors in turn."""
    by_author: dict[Author, list[tuple[RawItem, Thumbnail | None]]] = defaultdict(list)
    for item, blob in zip(items, thumbnails, strict=False):
        by_author[item.author].append((item, blob))
    lanes = [
        [_batch(author, own[n : n + _BATCH]) for n in range(0, len(own), _BATCH)]
        for author, own in by_author.items()
    ]
    return [batch for batch in chain(*zip_longest(*lanes)) if batch]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A way to publish items that is measured several times in a run.

    `measure` publishes `items` items and returns the seconds.
    """

    name: str
    items: int
    measure: Callable[[], float]
    results: list[float] = field(default_factory=list)

    def repeat(self) -> None:
        """Measure it once more."""
        self.results.append(self.measure())

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items * len(self.results) / sum(self.results)


def publishing_seconds(url: str, items: Sequence[RawItem], processes: int) -> float:
    """Return how long bare processes take to publish items with `putRecord`."""
    return _process_seconds(partial(_publish, url), items, processes)


def batch_publishing_seconds(url: str, items: Sequence[RawItem], processes: int) -> float:
    """Return how long bare processes take to publish items, an author's in one `applyWrites`.

    Each item's thumbnail is made and uploaded before the next one's. An author has at most 100.
    """
    by_author: dict[Author, list[RawItem]] = defaultdict(list)
    for item in items:
        by_author[item.author].append(item)
    return _process_seconds(partial(_publish_batch, url), list(by_author.values()), processes)


def thumbnail_cpu_seconds(pictures: Sequence[bytes], processes: int) -> float:
    """Return the CPU time of bare processes that make thumbnails at the same time."""
    return sum(_map_in_processes(_thumbnail_cpu_seconds, pictures, processes)[0])


def thumbnail_costs(files: Sequence[Path], processes: int) -> tuple[list[tuple[int, float]], float]:
    """Make the thumbnails of files in bare processes.

    Returns the size and the CPU seconds of each, and the seconds for all.
    """
    return _map_in_processes(_thumbnail_cost, files, processes)


def raw_loop_seconds(url: str, batches: Sequence[RawBatch]) -> float:
    """Return how long two loops take to send batches, each for one half of the accounts."""
    authors = list(dict.fromkeys(batch.author for batch in batches))
    loops = [[b for b in batches if b.author in authors[n::_LOOPS]] for n in range(_LOOPS)]
    return _thread_seconds(partial(_send, url), loops, _LOOPS)


def old_way_seconds(url: str, items: Sequence[RawItem]) -> float:
    """Return how long the old way takes, ten items at a time."""
    return _thread_seconds(partial(_publish_the_old_way, url), items, _LOGINS)


def _batch(author: Author, items: Sequence[tuple[RawItem, Thumbnail | None]]) -> RawBatch:
    writes = [_write(item, _prepared_record(item, blob)) for item, blob in items]
    blobs = [blob for _, blob in items if blob is not None]
    return RawBatch(author, _body(author, writes), blobs)


def _body(author: Author, writes: Sequence[Mapping[str, object]]) -> bytes:
    return json.dumps({"repo": author.did, "validate": False, "writes": writes}).encode()


def _prepared_record(item: RawItem, blob: Thumbnail | None) -> Mapping[str, object]:
    return item.record if blob is None else {**item.record, "thumbnail": _reference(blob)}


def _write(item: RawItem, record: Mapping[str, object]) -> Mapping[str, object]:
    return {
        "$type": "com.atproto.repo.applyWrites#create",
        "collection": item.collection,
        "rkey": item.rkey,
        "value": record,
    }


def _reference(blob: Thumbnail) -> Mapping[str, object]:
    link = {"$link": cid_of_blob(blob.data)}
    return {"$type": "blob", "ref": link, "mimeType": blob.mime_type, "size": len(blob.data)}


def _process_seconds(publish_one: Callable[[T], None], jobs: Sequence[T], processes: int) -> float:
    return _map_in_processes(publish_one, jobs, processes)[1]


def _map_in_processes(
    call: Callable[[T], R], jobs: Sequence[T], processes: int
) -> tuple[list[R], float]:
    """Return the results of processes that have started and imported everything, and the time."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    started = context.Barrier(processes + 1)
    with ProcessPoolExecutor(processes, context, initializer=started.wait) as pool:
        for _ in range(processes):
            pool.submit(int)  # each starts one more process
        started.wait(_STARTUP)
        start = time.perf_counter()
        results = list(pool.map(call, jobs))
        return results, time.perf_counter() - start


def _thread_seconds(publish_one: Callable[[T], None], jobs: Iterable[T], threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        return seconds(lambda: list(pool.map(publish_one, jobs)))


@cache
def _connection(url: str) -> RawPds:
    """Return this process's connection."""
    return RawPds(url)


def _publish(url: str, item: RawItem) -> None:
    publish(_connection(url), item)


def _publish_batch(url: str, items: Sequence[RawItem]) -> None:
    pds, author = _connection(url), items[0].author
    writes = [_write(item, item.with_blob(pds, author.token)) for item in items]
    body = _body(author, writes)
    pds.send("com.atproto.repo.applyWrites", body, "application/json", author.token)


def _thumbnail_cpu_seconds(picture: bytes) -> float:
    start = time.process_time()
    thumbnail(picture)
    return time.process_time() - start


def _thumbnail_cost(file: Path) -> tuple[int, float]:
    start = time.process_time()
    size = len(thumbnail(file.read_bytes()).data)
    return size, time.process_time() - start


def _publish_the_old_way(url: str, item: RawItem) -> None:
    with closing(RawPds(url)) as pds:
        publish_the_old_way(pds, item)


def _send(url: str, loop: Sequence[RawBatch]) -> None:
    with ExitStack() as undo:
        pds, *uploaders = (undo.enter_context(closing(RawPds(url))) for _ in range(_UPLOADS + 1))
        pool = undo.enter_context(ThreadPoolExecutor(_UPLOADS))
        for batch in loop:
            list(pool.map(partial(_upload, batch), uploaders, range(_UPLOADS)))
            token = batch.author.token
            pds.send("com.atproto.repo.applyWrites", batch.body, "application/json", token)


def _upload(batch: RawBatch, pds: RawPds, number: int) -> None:
    """Upload one of eight equal parts of a batch's blobs."""
    for blob in batch.blobs[number::_UPLOADS]:
        pds.upload(batch.author.token, blob)
