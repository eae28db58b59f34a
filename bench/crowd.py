"""The ceiling: bare processes that do nothing but the calls that nothing can avoid."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, TypeVar

from bench.raw import Put, RawPds
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

    Counter = Synchronized[int]
    Share = Callable[[Counter], None]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """An item to publish: its putRecord call, and the picture that its thumbnail is of."""

    put: Put
    picture: bytes | None = None


def publish(pds: RawPds, job: Job) -> None:
    """Make a thumbnail, upload it, put the record; a job without a picture is a put alone."""
    blobs = {}
    if job.picture is not None:
        thumbnail = make_thumbnail(job.picture, ThumbnailSettings())
        blobs["thumbnail"] = pds.upload(job.put.token, thumbnail.data)
    pds.put(job.put.token, job.put.body(**blobs))


def publishing_seconds(url: str, jobs: Sequence[Job], processes: int) -> float:
    """Return how long so many bare processes take to publish all jobs."""
    return _seconds(partial(_publish_all, url, jobs), processes)


def thumbnail_seconds(pictures: Sequence[bytes], processes: int) -> float:
    """Return how long so many processes take to make all thumbnails."""
    return _seconds(partial(_make_all, pictures), processes)


def _publish_all(url: str, jobs: Sequence[Job], counter: Counter) -> None:
    with closing(RawPds(url)) as pds:
        for job in _taken(jobs, counter):
            publish(pds, job)


def _make_all(pictures: Sequence[bytes], counter: Counter) -> None:
    for picture in _taken(pictures, counter):
        make_thumbnail(picture, ThumbnailSettings())


def _taken(jobs: Sequence[T], counter: Counter) -> Iterator[T]:
    """Take the next job that no other process has taken, as workers do from a queue."""
    while True:
        with counter.get_lock():
            number = counter.value
            counter.value += 1
        if number >= len(jobs):
            return
        yield jobs[number]


def _seconds(share: Share, processes: int) -> float:
    """Return how long the processes of a crowd take from the first's start to the last's end.

    Raises EOFError when one of them dies.
    """
    counter: Counter = multiprocessing.get_context("forkserver").Value("i", 0)
    with ExitStack() as undo:
        crowd = [undo.enter_context(_process(share, counter)) for _ in range(processes)]
        for process in crowd:
            process.recv()  # it is there
        for process in crowd:
            process.send("go")
        spans: list[tuple[float, float]] = [process.recv() for process in crowd]
    return max(end for _, end in spans) - min(begin for begin, _ in spans)


@contextmanager
def _process(share: Share, counter: Counter) -> Iterator[Connection]:
    context = multiprocessing.get_context("forkserver")
    ours, its = context.Pipe()
    process = context.Process(target=_carry_out, args=(share, counter, its), daemon=True)
    process.start()
    its.close()
    with ours:
        yield ours
    process.join()


def _carry_out(share: Share, counter: Counter, parent: Connection) -> None:
    parent.send("ready")
    parent.recv()
    begin = time.monotonic()
    share(counter)
    parent.send((begin, time.monotonic()))
