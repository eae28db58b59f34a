"""Print figures as tables, and write them as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from bench.figures import Figure, Section, Target

_WIDTH = 118
_DRIFT = (
    "Times and rates vary by half from one minute to the next on a shared machine. The values of "
    "one row were measured side by side: compare the ratios."
)


class Report:
    """The sections of one run, each printed when it is added."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._console = Console(
            file=out, width=_WIDTH, highlight=False, markup=False, no_color=True
        )
        self._machine: Mapping[str, str] = {}
        self._sections: list[Section] = []

    def describe(self, machine: Mapping[str, str]) -> None:
        """Print the machine, unless it is printed already."""
        if not self._machine:
            self._machine = machine
            self._print(", ".join(f"{name} {value}" for name, value in machine.items()), _DRIFT)

    def add(self, section: Section) -> None:
        """Print a section."""
        self._sections.append(section)
        self._print(f"\n{section.title}", section.method, _figure_table(section))

    def print_targets(self) -> None:
        """Print each target, and whether it is met."""
        if targets := self._targets():
            table = _table("", "ratio", "target", "")
            for target in targets:
                verdict = "met" if target.is_met else "MISSED"
                meaning = f"{target.meaning} [{target.key}]"
                table.add_row(meaning, f"{target.ratio:.3g}", str(target), verdict)
            self._print("\nTargets", table)

    def print_problems(self) -> list[str]:
        """Print and return the problems of all sections."""
        problems = [problem for section in self._sections for problem in section.problems]
        self._print(*problems)
        return problems

    def as_json(self) -> dict[str, Any]:
        """Return the ratios that have a target by key, and all figures unrounded."""
        targets = self._targets()
        return {
            **{target.key: target.ratio for target in targets},
            "targets": {target.key: _target_json(target) for target in targets},
            "machine": dict(self._machine),
            "sections": {section.name: _section_json(section) for section in self._sections},
        }

    def _targets(self) -> list[Target]:
        return [target for section in self._sections for target in section.targets]

    def _print(self, *parts: str | Table) -> None:
        for part in parts:
            self._console.print(part)
        self._out.flush()


def _target_json(target: Target) -> dict[str, Any]:
    return {"at_least" if target.at_least else "at_most": target.bound, "met": target.is_met}


def _section_json(section: Section) -> dict[str, Any]:
    figures = [asdict(figure) | {"ratio": figure.ratio} for figure in section.figures]
    return {"title": section.title, "method": section.method, "figures": figures}


def _figure_table(section: Section) -> Table:
    table = _table(
        "", "figure", "", "beside", "that is", "ratio", right=("figure", "beside", "ratio")
    )
    for figure in section.figures:
        table.add_row(*_cells(figure))
    return table


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    return table


def _cells(figure: Figure) -> Iterator[str]:
    yield figure.label
    yield _rounded(figure.value)
    yield figure.unit
    yield "" if figure.other is None else _rounded(figure.other)
    yield figure.beside
    yield "" if figure.ratio is None else f"{figure.ratio:.2f}"


def _rounded(value: float) -> str:
    """Return a value with three significant digits, or all digits before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
