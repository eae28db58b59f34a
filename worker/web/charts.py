"""Compute the bars and labels of a chart; a template draws the chart as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from worker.operations.status import Series

WIDTH, HEIGHT = 720, 160
_GAP = 0.25  # share of the width per bar
_MIN_HEIGHT = 2.0  # keeps small counts visible


@dataclass(frozen=True, slots=True)
class Bar:
    """The position, size and label of one bar."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """The bars and axis labels of a chart, and a one-sentence summary of the series."""

    bars: tuple[Bar, ...]
    top: int
    marks: tuple[str, ...]
    summary: str


def draw(series: Series) -> Plot:
    """Compute the chart of a series; the highest bar has full height, 0 has no bar."""
    top, slot = max(series.counts), WIDTH / len(series.counts)
    width = round(slot * (1 - _GAP), 2)
    bars = []
    for number, (start, count) in enumerate(zip(series.starts, series.counts, strict=True)):
        if count:
            x = round(slot * (number + _GAP / 2), 2)
            height = round(max(HEIGHT * count / top, _MIN_HEIGHT), 2)
            y = round(HEIGHT - height, 2)
            bars.append(Bar(x, y, width, height, f"{start:%H:%M}: {count:,}"))
    middle = series.starts[len(series.starts) // 2]
    marks = f"{series.starts[0]:%H:%M}", f"{middle:%H:%M}", "now"
    return Plot(tuple(bars), top, marks, _summary(series))


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
