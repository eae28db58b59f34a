"""Counts as bars of an SVG drawing: the numbers that a template puts into it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from worker.operations.status import Series

WIDTH, HEIGHT = 720, 160
_GAP = 0.25  # of a bar's room
_MIN_HEIGHT = 2.0  # what is there is seen, however little


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its place and size in the drawing, and what it says."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing of a series: bars, the labels of its axes, and all of it in a sentence."""

    bars: tuple[Bar, ...]
    top: int
    marks: tuple[str, ...]
    summary: str


def draw(series: Series) -> Plot:
    """Draw a series; the highest bar is as high as the drawing, and nothing counted is no bar."""
    top = max(series.counts)
    room = WIDTH / len(series.counts)
    bars = []
    for number, (start, count) in enumerate(zip(series.starts, series.counts, strict=True)):
        height = max(HEIGHT * count / top, _MIN_HEIGHT) if count else 0.0
        label = f"{start:%H:%M}: {count:,}"
        left = room * (number + _GAP / 2)
        sizes = (left, HEIGHT - height, room * (1 - _GAP), height)
        x, y, width, height = (round(size, 2) for size in sizes)
        bars.append(Bar(x, y, width, height, label))
    return Plot(
        bars=tuple(bar for bar in bars if bar.height),
        top=top,
        marks=_marks(series),
        summary=_summary(series),
    )


def _marks(series: Series) -> tuple[str, ...]:
    """Return the moments that are written below: the first, one in the middle, and the end."""
    middle = series.starts[len(series.starts) // 2]
    return f"{series.starts[0]:%H:%M}", f"{middle:%H:%M}", "now"


def _summary(series: Series) -> str:
    step = "minute" if series.step == timedelta(minutes=1) else "hour"
    span = f"{len(series.counts)} {step}s"
    if not series.total:
        return f"No item was published in the last {span}."
    start, most = series.busiest
    items = "1 item" if series.total == 1 else f"{series.total:,} items"
    return (
        f"{items} published in the last {span}; the most in one {step}: {most:,}, "
        f"from {start:%H:%M} UTC."
    )
