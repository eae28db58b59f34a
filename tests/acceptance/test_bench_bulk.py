"""The benchmark of bulk work runs, and says what it promises to say; how fast is not its test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_RATIOS = {
    "text_vs_ceiling",
    "text_vs_old",
    "painting_vs_ceiling",
    "painting_vs_old",
    "restore_vs_ceiling",
    "restore_vs_old",
    "rss_growth",
    "live_p99_ratio",
    "audit_vs_download",
}
_FIGURES = {
    "text": {"backfill", "the whole command", "CPU: pds", "CPU: worker, pool"},
    "painting": {"backfill", "the whole command", "CPU: worker, pool"},
    "restore": {"restore", "the whole command", "CPU: worker, pool"},
    "memory": {"command", "worker, parent", "worker, largest child"},
    "live": {"during moods, p50", "during moods, p99", "during paintings, p99"},
    "audit": {"audit", "the whole command"},
}


@pytest.fixture(scope="module")
def quick_run(
    bare_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, object]]:
    """Run the benchmark with few documents; return what it printed, and the JSON it wrote."""
    file = tmp_path_factory.mktemp("bench") / "figures.json"
    command = (sys.executable, "-m", "bench.bulk_job", "--quick", "--json", file)
    done = subprocess.run(
        command, env=bare_environ, cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = json.loads(file.read_text())
    return done.stdout, report


@pytest.mark.parametrize("key", sorted(_RATIOS))
def test_every_target_has_its_ratio(quick_run: tuple[str, dict[str, object]], key: str) -> None:
    """At the top of the JSON under its key, and in the table with its target and a verdict."""
    printed, report = quick_run
    ratio = report[key]
    assert isinstance(ratio, float)
    assert ratio > 0
    (line,) = (line for line in printed.splitlines() if f"[{key}]" in line)
    assert line.split()[-1] in {"met", "MISSED"}


def test_the_json_says_which_targets_are_met(quick_run: tuple[str, dict[str, object]]) -> None:
    """A bound for each ratio, on one side, and whether the ratio keeps it."""
    _, report = quick_run
    targets = report["targets"]
    assert isinstance(targets, dict)
    assert targets.keys() == _RATIOS
    for key, target in targets.items():
        ratio = report[key]
        assert isinstance(ratio, float)
        keeps = ratio >= target["at_least"] if "at_least" in target else ratio <= target["at_most"]
        assert target["met"] is keeps


@pytest.mark.parametrize("section", _FIGURES)
def test_the_absolute_figures_stand_beside_the_ratios(
    quick_run: tuple[str, dict[str, object]], section: str
) -> None:
    """Label, figure, unit, what it is held against, and the ratio of the two."""
    _, report = quick_run
    sections = report["sections"]
    assert isinstance(sections, dict)
    figures = sections[section]["figures"]
    assert _FIGURES[section] <= {figure["label"] for figure in figures}
    for figure in figures:
        assert figure["unit"]
        assert figure["beside"]
        assert figure["value"] >= 0
        assert figure["other"] > 0
        assert figure["ratio"] == pytest.approx(figure["value"] / figure["other"])
