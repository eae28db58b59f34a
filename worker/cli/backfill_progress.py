"""Show the progress of a backfill: bars, or lines without a terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.cli.output import echo, shown, shows_progress
from worker.sync.batch.progress import BackfillProgress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_LINE_EVERY = 5.0  # seconds


class PlainProgress:
    """Prints a line every few seconds, for logs."""

    def __init__(self, totals: Mapping[str, int]) -> None:
        self._total = sum(totals.values())
        self._start = time.monotonic()
        self._printed_at = 0.0
        self._printed = BackfillProgress(0, {}, {})

    def show(self, tally: BackfillProgress) -> None:
        """Print progress, unless it is unchanged or was printed very recently."""
        spent = time.monotonic() - self._start
        if spent < self._printed_at + _LINE_EVERY or tally == self._printed:
            return
        self._printed_at, self._printed = spent, tally
        parts = (
            f"{tally.total} of {self._total}",
            f"{tally.total / spent:.0f}/s",
            reasons_of(tally),
        )
        echo(", ".join(filter(None, parts)), err=True)


class LiveProgress:
    """Shows a bar for each type, with rate, estimate and reasons of failures."""

    def __init__(self, bars: Bars, totals: Mapping[str, int]) -> None:
        self._bars = bars
        self._start = time.monotonic()
        self._tasks: Mapping[str, TaskID] = {
            name: bars.add_task(name, total=total, why="", rate="")
            for name, total in totals.items()
        }

    def show(self, tally: BackfillProgress) -> None:
        for name, task in self._tasks.items():
            done = sum(n for (kind, _), n in tally.ended.items() if kind == name)
            rate = f"{done / (time.monotonic() - self._start):.0f}/s"
            self._bars.update(task, completed=done, rate=rate, why=reasons_of(tally, name))


@contextmanager
def open_progress(totals: Mapping[str, int]) -> Iterator[LiveProgress | PlainProgress]:
    """Show progress towards `totals`, items by type, on stderr until the block ends."""
    if not shows_progress():
        yield PlainProgress(totals)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:>9}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[why]}", style="red", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield LiveProgress(bars, totals)


def reasons_of(tally: BackfillProgress, type_name: str | None = None) -> str:
    """Format the four most frequent reasons of failures, with their numbers."""
    counts: Counter[str] = Counter()
    for (kind, reason), number in tally.reasons.items():
        if type_name in {None, kind}:
            counts[reason] += number
    return ", ".join(f"{shown(reason)} {number}" for reason, number in counts.most_common(4))
