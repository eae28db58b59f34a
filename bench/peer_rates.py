"""Compare with `sharp`, and with a Node script that publishes with care. Four minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

from bench.documents import Archive, Document
from bench.figures import Figure, Section
from bench.harness import Author, Harness, open_harness
from bench.peer_program import Peers, peer_versions
from bench.peer_publishing import MOODS, PAINTINGS, Contest, Load
from bench.peer_thumbnails import measure_thumbnails
from bench.pictures import SIZES, Size, all_kinds, variations
from bench.quality import measure_quality
from bench.report import Report
from bench.usage import startup_seconds


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of rounds, starts, accounts, and pictures for thumbnails; loads of a round."""

    rounds: int = 3
    startups: int = 3
    accounts: int = 16
    pictures: int = 300
    paintings: Load = field(default_factory=lambda: Load(warm_up=48, ours=480, peer=240))
    moods: Load = field(default_factory=lambda: Load(warm_up=160, ours=3_200, peer=800))
    sizes: Sequence[Size] = SIZES


QUICK = Scale(
    rounds=1,
    startups=1,
    accounts=2,
    pictures=8,
    paintings=Load(warm_up=2, ours=6, peer=6),
    moods=Load(warm_up=4, ours=60, peer=20),
    sizes=((640, 480),),
)


def measure(report: Report, *, quick: bool) -> None:
    """Measure all sections on the same services."""
    scale = QUICK if quick else Scale()
    images = all_kinds(scale.sizes)
    pictures = variations(images)
    with open_harness(report, quick=quick, versions=peer_versions()) as harness:
        peers = Peers(harness.processes)
        sample = list(islice(pictures, scale.pictures))
        with peers.program("thumbnails.mjs") as program:
            folder = harness.processes.folder / "pictures"
            report.add(measure_thumbnails(program, folder, sample, scale.rounds))
        report.add(measure_quality(sample[: len(images)]))
        startup = startup_seconds(harness, scale.startups)
        report.add(_startups(harness, peers, scale, startup))
        for section in _publishing(harness, peers, pictures, scale, startup):
            report.add(section)


def _startups(harness: Harness, peers: Peers, scale: Scale, startup: float) -> Section:
    beside = "the Node script"
    script = median(peers.startup_seconds("publish.mjs") for _ in range(scale.startups))
    worker = median(_worker_startup(harness) for _ in range(scale.startups))
    return Section(
        "startup",
        "Start-up",
        f"Median of {scale.startups} starts: of a backfill without documents until its first "
        "output, of the bulk worker until it takes messages, and of the script until it takes "
        "documents. No other figure includes them.",
        [
            Figure("backfill command", startup, "s", beside, script),
            Figure("bulk worker", worker, "s", beside, script),
        ],
    )


def _worker_startup(harness: Harness) -> float:
    start = time.perf_counter()
    with harness.bulk_worker():
        return time.perf_counter() - start


def _publishing(
    harness: Harness, peers: Peers, pictures: Iterator[bytes], scale: Scale, startup: float
) -> Iterator[Section]:
    """Publish with one bulk worker, and with one process of the script."""
    archive = Archive()
    authors, others = (harness.create_authors(scale.accounts) for _ in range(2))
    site = harness.services.media.site.url

    def paintings(authors: Sequence[Author], number: int) -> Iterator[Document]:
        return archive.paintings(authors, islice(pictures, number))

    with (
        harness.bulk_worker() as worker,
        peers.program("publish.mjs", harness.pds_url, site) as script,
    ):
        contest = Contest(harness, worker, script, startup, authors, others)
        contest.log_in()
        yield contest.measure(PAINTINGS, scale.paintings, scale.rounds, paintings)
        yield contest.measure(MOODS, scale.moods, scale.rounds, archive.texts)
