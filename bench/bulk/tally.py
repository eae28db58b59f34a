"""What a backfill is held against, measured before and after it: a slow minute hits both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.bulk.ceiling import sending_seconds
from bench.bulk.job import Beside
from bench.bulk.old_way import OldItem, old_seconds
from bench.bulk.ready import Batch
from bench.figures import Figure
from bench.place import Author, Place

_LOOPS = (1, 2)


@dataclass(slots=True)
class Tally:
    """Items, and the seconds that they took, in all goes."""

    items: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.seconds

    def add(self, items: int, seconds: float) -> None:
        """Add another go."""
        self.items += items
        self.seconds += seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """How much of a ceiling is measured each time: items over new accounts, called after `name`.

    `calls` says what is sent.
    """

    name: str
    calls: str
    items: int
    accounts: int
    batches: Callable[[Sequence[Author]], list[Batch]]


@dataclass(frozen=True, slots=True)
class RawLoops:
    """The raw calls, sent by one loop and by two side by side: the better of them counts."""

    place: Place
    sample: Sample
    tallies: Mapping[int, Tally] = field(default_factory=lambda: {n: Tally() for n in _LOOPS})

    def measure(self) -> None:
        """Measure once more, with repos that are as empty as they were."""
        for loops, tally in self.tallies.items():
            batches = self.sample.batches(self._recruit(loops))
            tally.add(self.sample.items, sending_seconds(self.place.pds_url, batches, loops))

    def _recruit(self, loops: int) -> tuple[Author, ...]:
        times = self.tallies[loops].items // self.sample.items
        return self.place.recruit(f"{self.sample.name}-{loops}-{times}", self.sample.accounts)

    @property
    def best(self) -> Beside:
        """The number of loops that was the fastest."""
        loops = max(self.tallies, key=lambda number: self.tallies[number].rate)
        return Beside(self._named(loops), self.tallies[loops].rate)

    def figures(self, unit: str) -> list[Figure]:
        """Return what each number of loops achieved, beside the best."""
        best = self.best.rate
        return [
            Figure(self._named(loops), tally.rate, f"{unit}/s", "the better of these", best)
            for loops, tally in self.tallies.items()
        ]

    def _named(self, loops: int) -> str:
        return f"{self.sample.calls}, {loops} at a time"


@dataclass(frozen=True, slots=True)
class OldWay:
    """The old way, measured with the same items each time: it makes new records of them."""

    place: Place
    items: Sequence[OldItem]
    tally: Tally = field(default_factory=Tally)

    @property
    def rate(self) -> Beside:
        """Items a second."""
        return Beside("the old way", self.tally.rate)

    def measure(self) -> None:
        """Measure once more."""
        self.tally.add(len(self.items), old_seconds(self.place.pds_url, self.items))
