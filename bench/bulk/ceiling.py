"""The ceiling of bulk work: a bare loop that sends what is ready, and does nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from queue import SimpleQueue

from bench.bulk.ready import Batch
from bench.raw import RawPds

_UPLOADS = 8


def sending_seconds(url: str, batches: Sequence[Batch], loops: int) -> float:
    """Return how long so many loops side by side take to send all batches.

    An author's batches are all sent by the same loop, so no two write to one repo at once.
    """
    authors = list(dict.fromkeys(batch.author for batch in batches))
    loop_of = {author: number % loops for number, author in enumerate(authors)}
    lanes = [[batch for batch in batches if loop_of[batch.author] == n] for n in range(loops)]
    with ThreadPoolExecutor(loops) as pool:
        start = time.perf_counter()
        list(pool.map(lambda lane: _send(url, lane), lanes))
        return time.perf_counter() - start


def _send(url: str, lane: Sequence[Batch]) -> None:
    with closing(RawPds(url)) as pds, _uploader(url) as uploader:
        for batch in lane:
            uploader.upload(batch.author.token, batch.blobs)
            pds.apply(batch.author.token, batch.body)


class _Uploader:
    """Eight connections that upload blobs side by side."""

    def __init__(self, pool: ThreadPoolExecutor, connections: Sequence[RawPds]) -> None:
        self._pool = pool
        self._idle: SimpleQueue[RawPds] = SimpleQueue()
        for connection in connections:
            self._idle.put(connection)

    def upload(self, token: str, blobs: Sequence[bytes]) -> None:
        """Upload blobs to the token's account, and return when all are there."""
        list(self._pool.map(lambda blob: self._upload(token, blob), blobs))

    def _upload(self, token: str, blob: bytes) -> None:
        connection = self._idle.get()
        connection.upload(token, blob)
        self._idle.put(connection)


@contextmanager
def _uploader(url: str) -> Iterator[_Uploader]:
    connections = [RawPds(url) for _ in range(_UPLOADS)]
    with ThreadPoolExecutor(_UPLOADS) as pool:
        try:
            yield _Uploader(pool, connections)
        finally:
            for connection in connections:
                connection.close()
