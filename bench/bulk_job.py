"""Measure bulk work: backfill, restore and audit, and what a backfill costs a save. 7 minutes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, repeat

from bench.bulk_load import LoadScale, measure_load
from bench.documents import TEXT_TYPES, Archive, Document, insert_archive
from bench.figures import Figure, Section, Target
from bench.harness import Author, Harness, open_harness
from bench.pictures import SIZES, Size, all_kinds, variations
from bench.raw import (
    Baseline,
    RawBatch,
    batch_publishing_seconds,
    batches,
    old_way_seconds,
    raw_item,
    raw_loop_seconds,
    thumbnail,
    thumbnail_cpu_seconds,
)
from bench.report import Report
from bench.results import CLOCK, Result, command_result
from bench.usage import CommandRun, calling_cpu_seconds, cpu_figures, run_command, startup_seconds
from worker.files.thumbnail import Thumbnail

_CORES = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Work:
    """Numbers of documents and accounts of a backfill, and of items for its baselines.

    `raw` items are sent by the raw loop to as many accounts as make repos of the same size.
    """

    documents: int
    accounts: int
    warm_up: int
    raw: int
    old: int

    @property
    def raw_accounts(self) -> int:
        """The number of accounts for the raw loop."""
        return max(1, self.raw * self.accounts // self.documents)

    @property
    def old_accounts(self) -> int:
        """The number of accounts for the old way."""
        return min(10, self.accounts)


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of documents; `startups` are commands that are timed, `sizes` those of pictures."""

    startups: int = 3
    texts: Work = Work(documents=20_000, accounts=40, warm_up=100, raw=5_000, old=150)
    paintings: Work = Work(documents=2_000, accounts=20, warm_up=16, raw=400, old=80)
    sizes: Sequence[Size] = SIZES
    load: LoadScale = field(default_factory=LoadScale)


QUICK = Scale(
    startups=1,
    texts=Work(documents=200, accounts=2, warm_up=10, raw=100, old=2),
    paintings=Work(documents=12, accounts=2, warm_up=2, raw=6, old=2),
    sizes=((128, 128),),
    load=LoadScale(
        few=100, many=400, accounts=2, idle=4, busy=4, paintings=10, audited=200, audits=1
    ),
)


@dataclass(frozen=True, slots=True)
class Job:
    """What a command does, and the lower bounds for its ratios to the ceiling and the old way."""

    key: str
    label: str
    unit: str
    title: str
    method: str
    bounds: tuple[float, float]


_RESTORE = Job(
    "restore",
    "restore",
    "paintings",
    "Restore of the same paintings after a wipe",
    "`media-atproto wipe HANDLE --yes` for each account, then `media-atproto restore "
    "HANDLE... --wait`; the thumbnails are cached, and every blob is uploaded again. Compared "
    "with the same raw calls and the same old way as the backfill of paintings.",
    (0.8, 8),
)


def measure(report: Report, *, quick: bool) -> None:
    """Measure all sections on the same services."""
    scale = QUICK if quick else Scale()
    archive, pictures = Archive(), variations(all_kinds(scale.sizes))
    with open_harness(report, quick=quick) as harness:
        startup = startup_seconds(harness, scale.startups)
        report.add(_texts(harness, archive, scale.texts, startup))
        for section in _paintings(harness, archive, pictures, scale.paintings, startup):
            report.add(section)
        for section in measure_load(harness, archive, pictures, scale.load):
            report.add(section)


def _texts(harness: Harness, archive: Archive, work: Work, startup: float) -> Section:
    texts = partial(archive.texts, types=TEXT_TYPES)
    raw = _raw_loop(
        harness,
        work,
        "applyWrites(100)",
        _prepared(harness, work, lambda own: texts(own, work.raw)),
    )
    old = _old_way(harness, texts(harness.create_authors(work.old_accounts), work.old))
    authors = harness.create_authors(work.accounts)
    command = ("backfill", *(word for name in TEXT_TYPES for word in ("--type", name)), "--wait")
    raw.measure()  # the PDS is slow at first
    _repeat(raw, old)
    with harness.bulk_worker() as worker:
        insert_archive(harness, texts(harness.create_authors(4), work.warm_up))
        run_command(harness, *command)
        insert_archive(harness, texts(authors, work.documents))
        run = run_command(harness, *command, worker=worker)
    result = _result(harness, run, startup, TEXT_TYPES, authors)
    _repeat(raw, old)
    return _section(result, _text_job(work), raw, old)


def _text_job(work: Work) -> Job:
    method = (
        f"{work.documents} documents over {work.accounts} accounts, published by `media-atproto "
        f"backfill --wait` and the bulk worker, which has done {work.warm_up} others before. "
        f"{CLOCK} Compared, before and after, with {work.raw} of the same records as prepared "
        "JSON for repos of the same size, sent by two loops; and with the old way, which logs in "
        f"and calls createRecord for each of {work.old} items, 10 at a time, in raw HTTP."
    )
    title = "Backfill of moods, pieces and KidLisp programs"
    return Job("text", "backfill", "records", title, method, (0.82, 40))


def _paintings(
    harness: Harness, archive: Archive, pictures: Iterator[bytes], work: Work, startup: float
) -> Iterator[Section]:
    """Backfill paintings, wipe their accounts and restore them; the baselines in between."""
    ceiling, mixed, raw, old = baselines = _painting_baselines(harness, archive, pictures, work)
    authors = harness.create_authors(work.accounts)
    handles = [author.handle for author in authors]
    command = ("backfill", "--type", "painting", "--wait")
    with harness.bulk_worker() as worker:
        others = islice(pictures, work.warm_up)
        insert_archive(harness, archive.paintings(harness.create_authors(2), others))
        run_command(harness, *command)
        insert_archive(harness, archive.paintings(authors, islice(pictures, work.documents)))
        _repeat(*baselines)
        run = run_command(harness, *command, worker=worker)
        backfill = _result(harness, run, startup, ["painting"], authors)
        _repeat(*baselines)
        for handle in handles:
            run_command(harness, "wipe", handle, "--yes")
        run = run_command(harness, "restore", *handles, "--wait", worker=worker)
        restore = _result(harness, run, startup, ["painting"], authors)
        _repeat(*baselines)
    yield _section(backfill, _painting_job(work), ceiling, old, [mixed, raw])
    yield _section(restore, _RESTORE, raw, old)


def _painting_job(work: Work) -> Job:
    method = (
        f"{work.documents} PNG files, pixel art, flat shapes and photographs, no two the same, "
        f"over {work.accounts} accounts, published by `media-atproto backfill --wait` and the bulk "
        f"worker, which has done {work.warm_up} others before. {CLOCK} Compared, before and "
        f"after, with {work.raw} paintings if all cores did nothing but the CPU time of bare "
        "processes that make their thumbnails, and of the client and the PDS for raw calls: "
        "uploads, 8 at a time, and writes of prepared thumbnails and JSON; with a real run of "
        "bare processes, one for each core, that make and upload one thumbnail after another, "
        "and write an account's records with one applyWrites; with the raw calls alone, in wall "
        f"time; and with the old way, which for each of {work.old} items logs in, makes the "
        "thumbnail and calls uploadBlob and createRecord, 10 at a time, in raw HTTP."
    )
    return Job("painting", "backfill", "paintings", "Backfill of paintings", method, (0.8, 2))


def _painting_baselines(
    harness: Harness, archive: Archive, pictures: Iterator[bytes], work: Work
) -> tuple[Baseline, Baseline, Baseline, Baseline]:
    """Return the ceiling, bare processes, the raw loop and the old way."""
    sample = list(islice(pictures, work.raw))
    with ThreadPoolExecutor(_CORES) as pool:
        thumbnails = list(pool.map(thumbnail, sample))
    paintings = partial(archive.paintings, pictures=sample)
    prepare = _prepared(harness, work, paintings, thumbnails)

    def cpu() -> float:
        send = partial(raw_loop_seconds, harness.pds_url, prepare())
        made = thumbnail_cpu_seconds(sample, _CORES)
        return (made + calling_cpu_seconds(harness, send)) / _CORES

    def publish() -> float:
        authors = harness.create_authors(work.raw_accounts)
        items = [raw_item(harness, document) for document in paintings(authors)]
        return batch_publishing_seconds(harness.pds_url, items, _CORES)

    authors = harness.create_authors(work.old_accounts)
    return (
        Baseline(f"bare CPU time, {_CORES} cores", work.raw, cpu),
        Baseline(f"bare processes, {_CORES} at a time", work.raw, publish),
        _raw_loop(harness, work, "uploads + applyWrites(100)", prepare),
        _old_way(harness, archive.paintings(authors, sample[: work.old])),
    )


def _prepared(
    harness: Harness,
    work: Work,
    documents: Callable[[Sequence[Author]], Iterable[Document]],
    thumbnails: Iterable[Thumbnail | None] = repeat(None),
) -> Callable[[], list[RawBatch]]:
    """Return a function that prepares the batches of a raw loop, for new accounts each time."""

    def prepare() -> list[RawBatch]:
        authors = harness.create_authors(work.raw_accounts)
        items = [raw_item(harness, document) for document in documents(authors)]
        return batches(items, thumbnails)

    return prepare


def _raw_loop(
    harness: Harness, work: Work, calls: str, prepare: Callable[[], list[RawBatch]]
) -> Baseline:
    def send() -> float:
        return raw_loop_seconds(harness.pds_url, prepare())

    return Baseline(f"raw {calls}, 2 at a time", work.raw, send)


def _old_way(harness: Harness, documents: Iterable[Document]) -> Baseline:
    items = [raw_item(harness, document) for document in documents]
    return Baseline("the old way", len(items), lambda: old_way_seconds(harness.pds_url, items))


def _repeat(*baselines: Baseline) -> None:
    for baseline in baselines:
        baseline.repeat()


def _result(
    harness: Harness,
    run: CommandRun,
    startup: float,
    types: Sequence[str],
    authors: Sequence[Author],
) -> Result:
    match = {"user": {"$in": [author.subject for author in authors]}}
    return command_result(harness, run, startup, types, match)


def _section(
    result: Result, job: Job, ceiling: Baseline, old: Baseline, others: Sequence[Baseline] = ()
) -> Section:
    """Compare the rate with the ceiling and the old way; list the rates of others."""
    unit = f"{job.unit}/s"
    return Section(
        job.key,
        job.title,
        job.method,
        (
            Figure(job.label, result.rate, unit, ceiling.name, ceiling.rate),
            Figure("the same", result.rate, unit, old.name, old.rate),
            *(Figure(one.name, one.rate, unit, "the ceiling", ceiling.rate) for one in others),
            *cpu_figures("CPU", result.cpu, result.documents),
        ),
        (
            _target(result, job, "ceiling", ceiling, job.bounds[0]),
            _target(result, job, "old way", old, job.bounds[1]),
        ),
    )


def _target(result: Result, job: Job, name: str, baseline: Baseline, bound: float) -> Target:
    key = f"{job.key}_vs_{name.partition(' ')[0]}"
    meaning = f"{job.label} of {job.unit}, compared with the {name}"
    return Target(key, meaning, result.rate / baseline.rate, bound, at_least=True)
