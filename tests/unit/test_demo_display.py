"""What is seen while the demo runs."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from worker.dev.demo.display import Display, LiveDisplay, PlainDisplay, format_counts


def play(stage: Display) -> None:
    """Have everything told once."""
    stage.scene("First [scene]")
    stage.say("something [bold]")
    stage.count({"synced": 1, "new": 1}, 1, 2)
    stage.scene("Second")
    stage.count({"synced": 2}, 2, 2)


def test_log_has_a_line_for_all_that_matters() -> None:
    """Scenes, what is said, and counts when they change; each with the time."""
    out = StringIO()
    play(PlainDisplay(out))
    lines = [line.partition("s ")[2] for line in out.getvalue().splitlines()]
    assert lines == [
        "== First [scene]",
        "   something [bold]",
        "   1 of 2: 1 synced, 1 new",
        "== Second",
        "   2 of 2: 2 synced",
    ]


def test_counts_are_not_repeated_in_a_log() -> None:
    """The last one is told at once, those on the way once a second."""
    out = StringIO()
    stage = PlainDisplay(out)
    for done in (1, 1, 2, 3, 3):
        stage.count({"synced": done}, done, 3)
    assert [line[-8:] for line in out.getvalue().splitlines()] == ["1 synced", "3 synced"]


def test_terminal_has_a_bar_below_the_lines() -> None:
    """One bar, of the scene that is on; texts are not taken for markup."""
    console = Console(
        file=StringIO(), force_terminal=True, width=100, markup=False, highlight=False
    )
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        play(LiveDisplay(progress))
        (task,) = progress.tasks
        assert (task.completed, task.total, task.fields["told"]) == (2, 2, "2 synced")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "First [scene]" in shown
    assert "something [bold]" in shown


def test_counts_are_told_in_a_fixed_order() -> None:
    """The good ones first, without those that are none."""
    statuses = {"failed": 1, "pending": 2, "synced": 3, "skipped": 0}
    assert format_counts(statuses) == "3 synced, 2 pending, 1 failed"
