"""What backfills take of memory and of saves, and what an audit takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from statistics import fmean, median

import libipld

from bench.documents import Archive, Document, insert_archive, latencies
from bench.figures import Figure, Section, Target, compare, percentile, seconds
from bench.harness import Author, Harness
from bench.processes import wait_until
from bench.raw import RawPds
from bench.usage import CommandRun, run_command

_MOODS = ("backfill", "--type", "mood", "--wait")
_PAINTINGS = ("backfill", "--type", "painting", "--wait")
_MIN_MOODS = 100  # of an account, so that few documents do not mean small batches
_AUDIT = """
import contextlib, io, json, time
from worker.cli import main
def seconds(handle):
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(["audit", "--user", handle], standalone_mode=False)
    assert not code, code
    return time.perf_counter() - start
print(json.dumps([seconds(handle) for handle in {handles!r}]))
"""


@dataclass(frozen=True, slots=True)
class LoadScale:
    """Numbers of documents and samples.

    Memory is measured with `few` and with `many` moods; of the many, `audited` belong to one
    account. `idle` moods are saved without a backfill, and at most `busy` during each of two:
    of the many moods, and of `paintings`.
    """

    few: int = 1_000
    many: int = 100_000
    accounts: int = 40
    idle: int = 300
    busy: int = 400
    paintings: int = 640
    audited: int = 50_000
    audits: int = 3


def measure_load(
    harness: Harness, archive: Archive, pictures: Iterator[bytes], scale: LoadScale
) -> Iterator[Section]:
    """Backfill few moods, then many, and paintings, while others are saved; audit an account."""
    authors, (audited, *savers) = harness.create_authors(scale.accounts), harness.create_authors(5)
    few = _backfill_few(
        harness, archive.texts(authors[: max(1, scale.few // _MIN_MOODS)], scale.few)
    )
    insert_archive(harness, _many(archive, authors, audited, scale))

    def save(number: int, until: Callable[[], bool] = lambda: False) -> list[float]:
        return latencies(harness, archive, savers, number, until)

    with harness.bulk_worker() as bulk, harness.live_worker():
        save(4)
        idle = save(scale.idle // 2)
        with _running(harness, lambda: run_command(harness, *_MOODS, worker=bulk)) as many:
            during_moods = save(scale.busy, many.done)
        insert_archive(harness, archive.paintings(authors, islice(pictures, scale.paintings)))
        with _running(harness, lambda: run_command(harness, *_PAINTINGS)) as paintings:
            during_paintings = save(scale.busy, paintings.done)
        idle += save(scale.idle // 2)
    yield _memory(scale, few.peaks, many.result().peaks)
    yield _saves(idle, {"moods": during_moods, "paintings": during_paintings})
    yield _audit(harness, audited, scale)


def _backfill_few(harness: Harness, documents: Iterator[Document]) -> CommandRun:
    insert_archive(harness, documents)
    with harness.bulk_worker() as worker:
        return run_command(harness, *_MOODS, worker=worker)


def _many(
    archive: Archive, authors: Sequence[Author], audited: Author, scale: LoadScale
) -> Iterator[Document]:
    others = archive.texts(authors, scale.many - scale.audited)
    return chain(archive.texts([audited], scale.audited), others)


@contextmanager
def _running(harness: Harness, command: Callable[[], CommandRun]) -> Iterator[Future[CommandRun]]:
    """Run a command during the block, which begins when a worker has its first message."""
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(command)
        wait_until(lambda: run.done() or harness.queues.lengths().in_flight > 0, "the backfill")
        yield run
        run.result()


def _memory(scale: LoadScale, few: Mapping[str, float], many: Mapping[str, float]) -> Section:
    beside = f"with {scale.few} documents"
    growth = max(many[name] / few[name] for name in many)
    return Section(
        "memory",
        "Peak memory of a backfill",
        "The most RSS (VmHWM) that `media-atproto backfill --wait` and the processes of the bulk "
        f"worker ever had, both freshly started, with {scale.few} moods and with {scale.many} over "
        f"{scale.accounts + 1} accounts, of which one has {scale.audited}.",
        [Figure(name, peak, "MiB", beside, few[name]) for name, peak in many.items()],
        [Target("rss_growth", "peak memory, with many documents and with few", growth, 1.2)],
    )


def _saves(idle: Sequence[float], loads: Mapping[str, Sequence[float]]) -> Section:
    slowest = max(percentile(samples, 99) for samples in loads.values())
    ratio = slowest / percentile(idle, 99)
    counts = ", ".join(f"{len(samples)} during one of {name}" for name, samples in loads.items())
    return Section(
        "live",
        "A save during a backfill",
        f"Moods saved and enqueued one at a time, {len(idle)} without a backfill, {counts}; until "
        "the document's syncedAt, cut to 1 ms, so 1 ms is added. A worker for saves and the bulk "
        "worker, as in the Procfile.",
        [
            figure
            for name, samples in loads.items()
            for figure in compare(f"during {name},", "ms", samples, "idle", idle)
        ],
        [Target("live_p99_ratio", "p99 of a save, in a backfill and without one", ratio, 5)],
    )


def _audit(harness: Harness, author: Author, scale: LoadScale) -> Section:
    """Audit an account that is in order, in turn with the download."""
    (empty,) = harness.create_authors(1)
    script = _AUDIT.format(handles=[empty.handle, author.handle])
    audits, downloads = [], [_download_seconds(harness, author)]
    for _ in range(scale.audits):
        audits.append(harness.processes.evaluate(script)[1])
        downloads.append(_download_seconds(harness, author))
    audit, download = median(audits), fmean(downloads)
    ratio = audit / download
    return Section(
        "audit",
        f"Audit of an account with {scale.audited} records",
        f"Median of {scale.audits} runs of `media-atproto audit --user HANDLE` without findings, "
        "each in a fresh process that has audited an empty account before, so that imports are "
        "not included. Compared, before and after each, with getRepo and libipld.decode_car.",
        [Figure("audit", audit, "s", "getRepo + decode_car", download)],
        [Target("audit_vs_download", "an audit, compared with download and decoding", ratio, 1.6)],
    )


def _download_seconds(harness: Harness, author: Author) -> float:
    with closing(RawPds(harness.pds_url)) as pds:
        return seconds(lambda: libipld.decode_car(pds.export(author.did)))
