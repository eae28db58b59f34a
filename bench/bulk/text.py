"""A backfill of moods, pieces and KidLisp programs: records without blobs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.bulk.crew import bulk_worker
from bench.bulk.documents import TEXT_TYPES, Archive, insert
from bench.bulk.job import METHOD, Job
from bench.bulk.old_way import old_item
from bench.bulk.published import span_of
from bench.bulk.ready import Batch, text_batches
from bench.bulk.results import Measured
from bench.bulk.scale import Work
from bench.bulk.tally import OldWay, RawLoops, Sample
from bench.bulk.terminal import run
from bench.figures import Section
from bench.place import Author, Place

_COMMAND = ("backfill", *(word for name in TEXT_TYPES for word in ("--type", name)), "--wait")
_WARM_UP = 100


def measure_text(place: Place, archive: Archive, work: Work, startup: float) -> Measured:
    """Backfill texts, with the raw loop and the old way before and after it."""
    _raw(place, archive, "cold-raw", work.raw // 4, 2).measure()  # the PDS is slow at first
    raw = _raw(place, archive, "text-raw", work.raw, work.raw_accounts)
    old = _old_way(place, archive, work)
    for beside in (raw, old):
        beside.measure()
    job = _backfill(place, archive, work, startup)
    for beside in (raw, old):
        beside.measure()
    return _measured(work, raw, old, job)


def _raw(place: Place, archive: Archive, name: str, number: int, accounts: int) -> RawLoops:
    def batches(authors: Sequence[Author]) -> list[Batch]:
        return text_batches(place, archive.texts(authors, number))

    return RawLoops(place, Sample(name, "raw applyWrites(100)", number, accounts, batches))


def _old_way(place: Place, archive: Archive, work: Work) -> OldWay:
    documents = archive.texts(place.recruit("text-old", min(10, work.accounts)), work.old)
    return OldWay(place, [old_item(place, document) for document in documents])


def _backfill(place: Place, archive: Archive, work: Work, startup: float) -> Job:
    authors = place.recruit("text", work.accounts)
    with bulk_worker(place) as worker:
        insert(place, iter(archive.texts(place.recruit("text-warm", 4), _WARM_UP)))
        run(place, *_COMMAND)
        insert(place, iter(archive.texts(authors, work.documents)))
        done = run(place, *_COMMAND, watched=[worker])
    span = span_of(place, TEXT_TYPES, authors, work.documents)
    return Job("backfill", "records", done, span, startup)


def _measured(work: Work, raw: RawLoops, old: OldWay, job: Job) -> Measured:
    section = Section(
        "text",
        "Backfill of moods, pieces and KidLisp programs",
        f"{work.documents} documents over {work.accounts} accounts, saved with insert_many, "
        "published by `media-atproto backfill --wait` and the bulk worker, which has done another "
        f"{_WARM_UP} before. {METHOD} Beside it, before and after: {raw.sample.items} of the same "
        "records as ready JSON for repos of the same size, by one loop and by two on different "
        "repos, of which the better counts; the old way, which logs in and calls createRecord for "
        f"each of {len(old.items)} items, 10 at a time, in raw HTTP.",
        (*job.figures(raw.best, old.rate), *raw.figures(job.unit), *job.cpu_figures()),
    )
    return Measured(section, job.ratios("text", raw.best, old.rate))
