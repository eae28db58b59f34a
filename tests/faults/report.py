"""The table of all faults, as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from tests.faults.performance import Result

_WIDTH = 118
_MOST_LINES = 20
_COLUMNS = ("items", "in flight", "lost", "doubled", "orphaned", "wrong state", "stuck")


def print_table(out: TextIO, results: Sequence[Result]) -> None:
    """Print a line for each fault."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("fault", no_wrap=True)
    for name in (*_COLUMNS, "audit", "recovery"):
        table.add_column(name, justify="right", no_wrap=name == "recovery")
    for result in results:
        counts = map(str, result.verdict.counts) if result.verdict else "-----"
        audit = {None: "-", "": "clean"}.get(result.audit, "not clean")
        if result.repaired:
            audit = f"{audit}, {result.repaired} repaired"
        own = (result.fault, str(result.items), str(result.in_flight))
        table.add_row(*own, *counts, audit, _recovery(result))
    Console(file=out, width=_WIDTH, highlight=False, markup=False, no_color=True).print(table)


def print_complaints(out: TextIO, result: Result) -> None:
    """Print what is wrong after a fault, not all of it should it be much."""
    complaints = result.complaints
    for complaint in complaints[:_MOST_LINES]:
        out.write(f"  {complaint}\n")
    if len(complaints) > _MOST_LINES:
        out.write(f"  and {len(complaints) - _MOST_LINES} more\n")
    out.flush()


def _recovery(result: Result) -> str:
    if not result.injected:
        return "not injected"
    seconds = "never" if result.seconds is None else f"{result.seconds:.1f} s"
    return f"{seconds} (!)" if result.trouble else seconds
