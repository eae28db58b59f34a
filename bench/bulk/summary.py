"""The ratios that have a target, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from bench.bulk.results import TARGETS, Measured
from bench.report import as_json, print_report


def print_all(out: TextIO, machine: Mapping[str, str], measured: Sequence[Measured]) -> None:
    """Print a table for each section, then every target and whether it is met."""
    print_report(out, machine, [one.section for one in measured])
    ratios = ratios_of(measured)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "ratio", "target", ""):
        table.add_column(name)
    for target in TARGETS:
        value = ratios[target.key]
        verdict = "met" if target.is_met(value) else "MISSED"
        table.add_row(f"{target.meaning} [{target.key}]", f"{value:.3g}", str(target), verdict)
    console = Console(file=out, width=118, highlight=False, markup=False, no_color=True)
    console.print("\nTargets")
    console.print(table)


def all_as_json(machine: Mapping[str, str], measured: Sequence[Measured]) -> dict[str, Any]:
    """Return the ratios by key, their targets, and everything that the tables say."""
    ratios = ratios_of(measured)
    targets = {
        target.key: {
            "at_least" if target.at_least else "at_most": target.bound,
            "met": target.is_met(ratios[target.key]),
        }
        for target in TARGETS
    }
    sections = as_json(machine, [one.section for one in measured])
    return {**ratios, "targets": targets, **sections}


def ratios_of(measured: Sequence[Measured]) -> dict[str, float]:
    """Return all ratios by key, in the order of the targets."""
    found = {key: value for one in measured for key, value in one.ratios.items()}
    return {target.key: found[target.key] for target in TARGETS}
