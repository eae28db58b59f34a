"""A backfill of paintings, and what `restore` makes of their accounts after a wipe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bench.bulk import album
from bench.bulk.crew import bulk_worker
from bench.bulk.documents import Archive, insert
from bench.bulk.job import METHOD, Beside, Job
from bench.bulk.old_way import old_item
from bench.bulk.published import span_of
from bench.bulk.ready import Batch, painting_batches
from bench.bulk.results import Measured
from bench.bulk.scale import Work
from bench.bulk.tally import OldWay, RawLoops, Sample, Tally
from bench.bulk.terminal import run
from bench.crowd import thumbnail_seconds
from bench.figures import Figure, Section
from bench.place import Author, Place
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

_CORES = os.cpu_count() or 1
_COMMAND = ("backfill", "--type", "painting", "--wait")
_WARM_UP = 16


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """What paintings are held against: thumbnails alone, the raw calls, the old way."""

    pictures: Sequence[bytes] = field(repr=False)
    raw: RawLoops
    old: OldWay
    thumbnails: Tally = field(default_factory=Tally)

    def measure(self) -> None:
        """Measure all of it once more."""
        seconds = thumbnail_seconds(self.pictures, _CORES)
        self.thumbnails.add(len(self.pictures), seconds)
        self.raw.measure()
        self.old.measure()

    @property
    def alone(self) -> Beside:
        """The thumbnails alone."""
        return Beside(f"thumbnails alone, {_CORES} processes", self.thumbnails.rate)

    @property
    def ceiling(self) -> Beside:
        """The slower of the thumbnails and the raw calls."""
        return min(self.alone, self.raw.best, key=lambda one: one.rate)


def measure_paintings(
    place: Place, archive: Archive, work: Work, startup: float
) -> Iterator[Measured]:
    """Backfill paintings, wipe their accounts, restore them; the rest before, between and after."""
    beside = _beside(place, archive, work)
    authors = place.recruit("pixels", work.accounts)
    handles = [author.handle for author in authors]
    with bulk_worker(place) as worker:
        store_paintings(place, archive, place.recruit("pixels-warm", 2), _WARM_UP)
        run(place, *_COMMAND)
        store_paintings(place, archive, authors, work.documents)
        beside.measure()
        done = run(place, *_COMMAND, watched=[worker])
        span = span_of(place, ["painting"], authors, work.documents)
        beside.measure()
        _wipe(place, handles)
        again = run(place, "restore", *handles, "--wait", watched=[worker])
        restored = span_of(place, ["painting"], authors, work.documents)
        beside.measure()
    yield _backfill(work, beside, Job("backfill", "paintings", done, span, startup))
    yield _restore(beside, Job("restore", "paintings", again, restored, startup))


def store_paintings(place: Place, archive: Archive, authors: Sequence[Author], number: int) -> None:
    """Save so many paintings, and put their pictures where uploads are."""
    documents = archive.paintings(authors, number)
    for document, picture in zip(documents, album.files(number), strict=True):
        place.platform.store(f"{document.raw['slug']}.png", picture, document.author.subject)
    insert(place, iter(documents))


def _beside(place: Place, archive: Archive, work: Work) -> Yardsticks:
    pictures = list(album.files(work.raw))
    thumbnails = _thumbnails(pictures)

    def batches(authors: Sequence[Author]) -> list[Batch]:
        return painting_batches(place, archive.paintings(authors, work.raw), thumbnails)

    sample = Sample(
        "pixels-raw", "raw uploads + applyWrites(100)", work.raw, work.raw_accounts, batches
    )
    authors = place.recruit("pixels-old", min(10, work.accounts))
    old = zip(archive.paintings(authors, work.old), pictures, strict=False)
    return Yardsticks(
        pictures,
        RawLoops(place, sample),
        OldWay(place, [old_item(place, document, picture) for document, picture in old]),
    )


def _thumbnails(pictures: Sequence[bytes]) -> list[bytes]:
    with ThreadPoolExecutor(_CORES) as pool:
        made = pool.map(lambda data: make_thumbnail(data, ThumbnailSettings()).data, pictures)
        return list(made)


def _wipe(place: Place, handles: Sequence[str]) -> None:
    with ThreadPoolExecutor(_CORES) as pool:
        list(pool.map(lambda handle: run(place, "wipe", handle, "--live", "--yes"), handles))


def _backfill(work: Work, beside: Yardsticks, job: Job) -> Measured:
    ceiling, old = beside.ceiling, beside.old.rate
    alone = beside.alone
    section = Section(
        "painting",
        "Backfill of paintings",
        f"{work.documents} PNG files of 128x128 to 1920x1080, pixel art, flat shapes and "
        f"photographs, no two the same, over {work.accounts} accounts, published by `media-atproto "
        f"backfill --wait` and the bulk worker, which has done another {_WARM_UP} before. {METHOD} "
        f"Beside it, before and after: {len(beside.pictures)} thumbnails and nothing else, with a "
        "process for each core; as many uploads, 8 at a time, and writes of ready thumbnails and "
        "ready JSON; the old way, which for each of "
        f"{len(beside.old.items)} items logs in, makes the thumbnail and calls uploadBlob and "
        "createRecord, 10 at a time, in raw HTTP.",
        (
            *job.figures(ceiling, old),
            Figure(alone.name, alone.rate, "paintings/s", "the ceiling", ceiling.rate),
            *beside.raw.figures(job.unit),
            *job.cpu_figures(),
        ),
    )
    return Measured(section, job.ratios("painting", ceiling, old))


def _restore(beside: Yardsticks, job: Job) -> Measured:
    ceiling, old = beside.raw.best, beside.old.rate
    section = Section(
        "restore",
        "Restore of the same paintings after a wipe",
        "`media-atproto wipe HANDLE --live --yes` for each account, then `media-atproto restore "
        "HANDLE... --wait`; the thumbnails are cached, and every blob is uploaded again. Beside "
        "it what the backfill of paintings is held against.",
        (*job.figures(ceiling, old), *job.cpu_figures()),
    )
    return Measured(section, job.ratios("restore", ceiling, old))
