"""A command that published documents: its rates, beside what they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from bench.bulk.published import Span
from bench.bulk.terminal import Done
from bench.figures import Figure

METHOD = (
    "The clock runs from the command's start, less the start-up that is measured apart (Python, "
    "imports, connections: the loops have theirs behind them), to the last document's syncedAt. "
    "That all documents are synced, and the repos hold one record for each, is checked."
)


@dataclass(frozen=True, slots=True)
class Beside:
    """Something that a command is held against: its name, and items a second."""

    name: str
    rate: float


@dataclass(frozen=True, slots=True)
class Job:
    """A command, what it published, and the seconds of its start-up."""

    name: str
    unit: str
    done: Done
    span: Span
    startup: float

    @property
    def rate(self) -> float:
        """Documents a second, less the start-up, which was over when the first was taken."""
        started = self.done.began + timedelta(seconds=self.startup)
        return self.span.rate_since(min(started, self.span.first_taken))

    def figures(self, ceiling: Beside, old: Beside) -> list[Figure]:
        """Return the rate beside the ceiling and the old way, and the same by other clocks."""
        whole = self.span.rate_since(self.done.began)
        claimed = self.span.rate_since(self.span.first_taken)
        return [
            self._figure(self.name, self.rate, ceiling),
            self._figure("the same", self.rate, old),
            self._figure("with the start-up", whole, ceiling),
            self._figure("from the first claim on", claimed, ceiling),
            Figure("the whole command", self.done.seconds, "s", "its start-up", self.startup),
        ]

    def cpu_figures(self) -> Sequence[Figure]:
        """Return the CPU time of a document by process, beside that of all."""
        return self.done.cpu_figures(self.span.documents)

    def ratios(self, key: str, ceiling: Beside, old: Beside) -> dict[str, float]:
        """Return the two ratios that have a target."""
        return {
            f"{key}_vs_ceiling": self.rate / ceiling.rate,
            f"{key}_vs_old": self.rate / old.rate,
        }

    def _figure(self, label: str, rate: float, beside: Beside) -> Figure:
        return Figure(label, rate, f"{self.unit}/s", beside.name, beside.rate)
