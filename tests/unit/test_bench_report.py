"""What benchmarks print and write, from a sample of figures."""

from __future__ import annotations

from io import StringIO

import pytest

from bench.figures import Figure, Section, Target
from bench.report import Report

_MACHINE = {"cores": "2", "Python": "3.11"}
_FIGURES = (Figure("mood p50", 30.0, "ms", "putRecord p50", 8.0), Figure("alone", 1234.5, "ms"))
_SECTION = Section("latency", "From enqueue to record", "One at a time.", _FIGURES)


def report_of(out: StringIO, *sections: Section) -> Report:
    """Return a finished report of sections."""
    report = Report(out)
    report.describe(_MACHINE)
    for section in sections:
        report.add(section)
    report.print_targets()
    return report


def test_json_has_each_figure_with_its_ratio() -> None:
    """Unrounded; a figure without another has no ratio."""
    written = report_of(StringIO(), _SECTION).as_json()
    section = written["sections"]["latency"]
    assert written["machine"] == _MACHINE
    assert (section["title"], section["method"]) == (_SECTION.title, _SECTION.method)
    beside = {"beside": "putRecord p50", "other": 8.0, "ratio": 3.75}
    alone = {"beside": "", "other": None, "ratio": None}
    assert section["figures"] == [
        {"label": "mood p50", "value": 30.0, "unit": "ms", **beside},
        {"label": "alone", "value": 1234.5, "unit": "ms", **alone},
    ]


def test_table_has_the_machine_and_each_figure_rounded() -> None:
    """Label, figure, unit, what it stands beside, and the ratio."""
    out = StringIO()
    report_of(out, _SECTION)
    lines = out.getvalue().splitlines()
    assert lines[0] == "cores 2, Python 3.11"
    assert {_SECTION.title, _SECTION.method} <= set(lines)
    rows = [" ".join(line.split()) for line in lines]
    assert "mood p50 30 ms 8 putRecord p50 3.75" in rows
    assert "alone 1234 ms" in rows


@pytest.mark.parametrize(
    ("ratio", "at_least", "met"),
    [(0.8, True, True), (0.79, True, False), (0.8, False, True), (0.81, False, False)],
)
def test_target_is_met_up_to_its_bound(ratio: float, *, at_least: bool, met: bool) -> None:
    """In the JSON, with the ratio under its key, and in the table."""
    target = Target("key", "share of the ceiling", ratio, 0.8, at_least=at_least)
    section = Section("text", "Backfill", "All at once.", _FIGURES, targets=[target])
    out = StringIO()
    written = report_of(out, section).as_json()
    assert written["key"] == ratio
    assert written["targets"] == {"key": {"at_least" if at_least else "at_most": 0.8, "met": met}}
    (line,) = (line for line in out.getvalue().splitlines() if "[key]" in line)
    assert line.split()[-1] == ("met" if met else "MISSED")


def test_problems_are_printed_after_all_sections() -> None:
    """They make the benchmark fail."""
    out = StringIO()
    problem = "no budgets: 3 refused writes"
    report = report_of(out, Section("a", "A", "", _FIGURES, problems=[problem]), _SECTION)
    assert report.print_problems() == [problem]
    assert out.getvalue().splitlines()[-1] == problem
