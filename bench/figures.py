"""What a measurement says: a figure, and what stands beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: a value, and another of the same run to hold it against.

    `label` says what was measured and `unit` in what; `beside` names the other value, `other`
    is it, in the same unit. Without one the figure speaks for itself.
    """

    label: str
    value: float
    unit: str
    beside: str = ""
    other: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the one beside it."""
        return self.value / self.other if self.other else None


@dataclass(frozen=True, slots=True)
class Section:
    """Figures that were measured together; `method` says how, for whoever doubts them."""

    name: str
    title: str
    method: str
    figures: tuple[Figure, ...]


def percentile(samples: Sequence[float], share: int) -> float:
    """Return the smallest sample that `share` percent of all samples do not exceed."""
    ordered = sorted(samples)
    rank = -(-len(ordered) * share // 100)
    return ordered[max(rank, 1) - 1]


def compared(
    label: str, unit: str, samples: Sequence[float], beside: str, others: Sequence[float]
) -> tuple[Figure, ...]:
    """Return the median and the 99th percentile of samples beside those of others."""
    return tuple(
        Figure(
            f"{label} p{share}",
            percentile(samples, share),
            unit,
            f"{beside} p{share}",
            percentile(others, share),
        )
        for share in (50, 99)
    )


def bounded(label: str, samples: Sequence[float], bound: float) -> tuple[Figure, ...]:
    """Return the median and the worst of samples in milliseconds, each beside a bound."""
    worst = {"p50": percentile(samples, 50), "max": max(samples)}
    return tuple(
        Figure(f"{label} {name}", value, "ms", "bound", bound) for name, value in worst.items()
    )
