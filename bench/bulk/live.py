"""How long a save takes to be on the PDS: with nothing else to do, and during a backfill."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle

from bson import ObjectId

from bench.bulk.results import Measured
from bench.figures import Figure, Section, compared, percentile
from bench.place import Author, Place
from bench.processes import await_true
from tasks import enqueue
from worker.dev.demo.scenes import MOODS

_PATIENCE = 60.0
_CUT = 1.0  # ms; the documents' times are cut to milliseconds, so this much is added to them
_PAUSE = 0.03  # seconds at most between two saves, so that they do not fall into step
_SILENCE = 6.0  # seconds; after so long without a save a backfill no longer expects one


@dataclass(frozen=True, slots=True)
class Saver:
    """Saves moods of some authors, one at a time, and waits for each to be published."""

    place: Place
    authors: Iterator[Author]
    dice: random.Random

    @classmethod
    def of(cls, place: Place, authors: Sequence[Author]) -> Saver:
        """Return one who saves moods of these authors in turn."""
        return cls(place, cycle(authors), random.Random(1))

    def latencies(self, number: int, until: Callable[[], bool] = lambda: False) -> list[float]:
        """Save so many moods, or fewer when `until` comes true; return milliseconds."""
        taken: list[float] = []
        while len(taken) < number and not until():
            time.sleep(self.dice.uniform(0, _PAUSE))
            taken.append(self._latency())
        return taken

    def lone_latencies(self, number: int, until: Callable[[], bool]) -> list[float]:
        """Save so many moods, each after a silence that is long enough to be forgotten in."""
        taken: list[float] = []
        while len(taken) < number:
            time.sleep(_SILENCE)
            if until():
                break
            taken.append(self._latency())
        return taken

    def _latency(self) -> float:
        start = datetime.now(UTC)
        item = self.place.platform.save_mood(self.dice.choice(MOODS), next(self.authors).subject)
        while not enqueue("mood", item):
            pass  # on a busy machine a producer's patience may run out, and that counts
        await_true(lambda: self._published(item) is not None, _PATIENCE, f"mood {item}")
        published = self._published(item)
        assert published is not None
        return (published - start).total_seconds() * 1000 + _CUT

    def _published(self, item: ObjectId) -> datetime | None:
        state = self.place.platform.state("mood", item)
        moment = state.get("syncedAt") if state.get("status") == "synced" else None
        return moment if isinstance(moment, datetime) else None


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds of saves: idle, during each kind of backfill, and after a silence in one."""

    idle: Sequence[float]
    in_texts: Sequence[float]
    in_paintings: Sequence[float]
    lone: Sequence[float]


def live_measured(taken: Latencies) -> Measured:
    """Return the figures; the worse of the backfills gives the ratio."""
    loads = {"moods": taken.in_texts, "paintings": taken.in_paintings}
    slowest = max(percentile(samples, 99) for samples in loads.values())
    counts = ", ".join(f"{len(samples)} during one of {of}" for of, samples in loads.items())
    section = Section(
        "live",
        "A save during a backfill",
        f"Moods saved and enqueued one at a time, {len(taken.idle)} without a backfill, {counts}; "
        "until the document's syncedAt, cut to 1 ms, so 1 ms is added. A worker for saves and the "
        f"bulk worker, as the Procfile has them. Then {len(taken.lone)} saves with {_SILENCE:.0f} "
        "seconds of silence before each, in which the backfill goes at full speed.",
        (
            *(
                figure
                for of, samples in loads.items()
                for figure in compared(f"during {of},", "ms", samples, "idle", taken.idle)
            ),
            *_lone(taken),
        ),
    )
    return Measured(section, {"live_p99_ratio": slowest / percentile(taken.idle, 99)})


def _lone(taken: Latencies) -> list[Figure]:
    if not taken.lone:
        return []
    idle = percentile(taken.idle, 99)
    return [Figure("after a silence, slowest", max(taken.lone), "ms", "idle p99", idle)]
