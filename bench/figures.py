"""Figures of a benchmark, and the values of the same run that they are compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of a table: a value, and another one in the same unit, which `beside` names."""

    label: str
    value: float
    unit: str
    beside: str = ""
    other: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the other one."""
        return self.value / self.other if self.other else None


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio with a bound that it should keep."""

    key: str
    meaning: str
    ratio: float
    bound: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the ratio keeps its bound."""
        return self.ratio >= self.bound if self.at_least else self.ratio <= self.bound

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Section:
    """Figures that were measured together, and how; a problem makes the benchmark fail."""

    name: str
    title: str
    method: str
    figures: Sequence[Figure]
    targets: Sequence[Target] = ()
    problems: Sequence[str] = ()


def percentile(samples: Sequence[float], share: int) -> float:
    """Return the smallest sample that `share` percent of all samples do not exceed."""
    ordered = sorted(samples)
    rank = -(-len(ordered) * share // 100)
    return ordered[max(rank, 1) - 1]


def compare(
    label: str, unit: str, samples: Sequence[float], beside: str, others: Sequence[float]
) -> list[Figure]:
    """Return the median and the 99th percentile of two groups of samples."""
    return [
        Figure(
            f"{label} p{share}",
            percentile(samples, share),
            unit,
            f"{beside} p{share}",
            percentile(others, share),
        )
        for share in (50, 99)
    ]


def seconds(action: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def milliseconds(action: Callable[[], object]) -> float:
    """Return how long a call takes."""
    return seconds(action) * 1000
