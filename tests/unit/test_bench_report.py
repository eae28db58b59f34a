"""What benchmarks print and write, from a sample of figures."""

from __future__ import annotations

from io import StringIO

import pytest

from bench.bulk.results import TARGETS, Measured, Target
from bench.bulk.summary import all_as_json, print_all
from bench.figures import Figure, Section

_MACHINE = {"cores": "2", "Python": "3.11"}
_FIGURES = (Figure("mood p50", 30.0, "ms", "putRecord p50", 8.0), Figure("alone", 1234.5, "ms"))
_SECTION = Section("latency", "From enqueue to record", "One at a time.", _FIGURES)


def measured(ratio: float) -> list[Measured]:
    """Return a sample section, with the same ratio for each target."""
    return [Measured(_SECTION, {target.key: ratio for target in TARGETS})]


def printed(ratio: float) -> list[str]:
    """Return the lines that are printed of it."""
    out = StringIO()
    print_all(out, _MACHINE, measured(ratio))
    return out.getvalue().splitlines()


def test_json_has_each_figure_with_its_ratio() -> None:
    """Unrounded; a figure without another has no ratio."""
    report = all_as_json(_MACHINE, measured(1))
    section = report["sections"]["latency"]
    assert report["machine"] == _MACHINE
    assert (section["title"], section["method"]) == (_SECTION.title, _SECTION.method)
    beside = {"beside": "putRecord p50", "other": 8.0, "ratio": 3.75}
    alone = {"beside": "", "other": None, "ratio": None}
    assert section["figures"] == [
        {"label": "mood p50", "value": 30.0, "unit": "ms", **beside},
        {"label": "alone", "value": 1234.5, "unit": "ms", **alone},
    ]


def test_table_has_the_machine_and_each_figure_rounded() -> None:
    """Label, figure, unit, what it stands beside, and the ratio."""
    lines = printed(1)
    assert lines[0] == "cores 2, Python 3.11"
    assert {_SECTION.title, _SECTION.method} <= set(lines)
    rows = [" ".join(line.split()) for line in lines]
    assert "mood p50 30 ms 8 putRecord p50 3.75" in rows
    assert "alone 1234 ms" in rows


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.key)
def test_target_is_met_up_to_its_bound(target: Target) -> None:
    """In the JSON, with the ratio under its key, and in the table."""
    side = "at_least" if target.at_least else "at_most"
    missed = target.bound * (0.99 if target.at_least else 1.01)
    for ratio, met, verdict in ((target.bound, True, "met"), (missed, False, "MISSED")):
        report = all_as_json(_MACHINE, measured(ratio))
        assert report[target.key] == ratio
        assert report["targets"][target.key] == {side: target.bound, "met": met}
        (line,) = (line for line in printed(ratio) if f"[{target.key}]" in line)
        assert line.split()[-1] == verdict
