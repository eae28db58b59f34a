"""What is seen while the demo runs: a bar that moves on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_ORDER = ("synced", "partial", "skipped", "removed", "pending", "failed", "new")


class Display(Protocol):
    """Where the demo tells what it does."""

    def scene(self, title: str) -> None:
        """Begin a part of the demo."""

    def say(self, text: str) -> None:
        """Tell something worth reading."""

    def count(self, statuses: Mapping[str, int], done: int, total: int) -> None:
        """Show how far the items are."""


class PlainDisplay:
    """Lines with the seconds since the start; counts once a second, when they have changed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._start = time.monotonic()
        self._last = ""
        self._next = 0.0

    def scene(self, title: str) -> None:
        """Begin a part of the demo."""
        self._print(f"== {title}")

    def say(self, text: str) -> None:
        """Tell something worth reading."""
        self._print(f"   {text}")

    def count(self, statuses: Mapping[str, int], done: int, total: int) -> None:
        """Show how far the items are."""
        told = f"   {done} of {total}: {format_counts(statuses)}"
        if told != self._last and (time.monotonic() >= self._next or done == total):
            self._last, self._next = told, time.monotonic() + 1
            self._print(told)

    def _print(self, text: str) -> None:
        self._out.write(f"{time.monotonic() - self._start:5.1f}s {text}\n")
        self._out.flush()


class LiveDisplay:
    """A progress bar below the lines that were told."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def scene(self, title: str) -> None:
        """Begin a part of the demo."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._progress.console.print(title, style="bold")
        self._task = self._progress.add_task(title, total=None, told="")

    def say(self, text: str) -> None:
        """Tell something worth reading."""
        self._progress.console.print(f"  {text}")

    def count(self, statuses: Mapping[str, int], done: int, total: int) -> None:
        """Show how far the items are."""
        if self._task is not None:
            told = format_counts(statuses)
            self._progress.update(self._task, completed=done, total=total, told=told)


@contextmanager
def open_display() -> Iterator[Display]:
    """Return the stage that suits stderr."""
    if not sys.stderr.isatty():
        yield PlainDisplay(sys.stderr)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False, markup=False)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield LiveDisplay(progress)


def format_counts(statuses: Mapping[str, int]) -> str:
    """Return counts in words, the good ones first."""
    return ", ".join(f"{statuses[name]} {name}" for name in _ORDER if statuses.get(name))
