"""The figures as a table for people, and as JSON for whoever compares runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from bench.figures import Figure, Section

_WIDTH = 118
_DRIFT = (
    "Times and rates drift by half from one minute to the next on a shared machine; what stands "
    "side by side was measured side by side, so it is the ratios that count."
)


def print_report(out: TextIO, machine: Mapping[str, str], sections: Sequence[Section]) -> None:
    """Print the machine, then a table for each section: label, figure, beside, ratio."""
    console = Console(file=out, width=_WIDTH, highlight=False, markup=False, no_color=True)
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    console.print(_DRIFT)
    for section in sections:
        console.print(f"\n{section.title}", section.method, sep="\n")
        console.print(_table(section))


def as_json(machine: Mapping[str, str], sections: Sequence[Section]) -> dict[str, Any]:
    """Return everything that the tables say, unrounded."""
    return {
        "machine": dict(machine),
        "sections": {
            section.name: {
                "title": section.title,
                "method": section.method,
                "figures": [asdict(f) | {"ratio": f.ratio} for f in section.figures],
            }
            for section in sections
        },
    }


def _table(section: Section) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("figure", justify="right")
    table.add_column("")
    table.add_column("beside", justify="right")
    table.add_column("that is")
    table.add_column("ratio", justify="right")
    for figure in section.figures:
        table.add_row(*_cells(figure))
    return table


def _cells(figure: Figure) -> tuple[str, str, str, str, str, str]:
    other = "" if figure.other is None else _rounded(figure.other)
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    return (figure.label, _rounded(figure.value), figure.unit, other, figure.beside, ratio)


def _rounded(value: float) -> str:
    """Return a value with three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
