"""What comes out of a measurement of bulk work: figures, and ratios that have a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.figures import Section


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio has to be: at least a bound, or at most."""

    key: str
    meaning: str
    bound: float
    at_least: bool

    def is_met(self, value: float) -> bool:
        """Tell whether a ratio is what it has to be."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.bound:g}"


TARGETS: Sequence[Target] = (
    Target("text_vs_ceiling", "backfill of texts, as a share of the raw loop", 0.8, at_least=True),
    Target("text_vs_old", "the same, as a multiple of the old way", 40, at_least=True),
    Target("painting_vs_ceiling", "backfill of paintings, share of ceiling", 0.75, at_least=True),
    Target("painting_vs_old", "the same, as a multiple of the old way", 2, at_least=True),
    Target("restore_vs_ceiling", "restore after a wipe, share of raw calls", 0.75, at_least=True),
    Target("restore_vs_old", "the same, as a multiple of the old way", 8, at_least=True),
    Target("rss_growth", "peak memory, many documents beside few", 1.2, at_least=False),
    Target("live_p99_ratio", "p99 of a save, in a backfill beside idle", 5, at_least=False),
    Target("audit_vs_download", "an audit, beside download and decoding", 3, at_least=False),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures that belong together, and those of the ratios that they lead to, by key."""

    section: Section
    ratios: Mapping[str, float]
