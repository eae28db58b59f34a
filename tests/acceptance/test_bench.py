"""The benchmark runs, and says what it promises to say; how fast anything is, is not its test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_FIGURES = {
    "import": {"CPU time", "RSS added"},
    "enqueue": {
        "enqueue p50",
        "enqueue p99",
        "enqueue max",
        "first call of a process max",
        "Redis stopped max",
        "Redis frozen max",
    },
    "latency": {
        "mood p50",
        "mood p99",
        "painting 64x64 p50",
        "painting 64x64 p99",
    },
    "throughput": {"moods, prefork 2", "paintings, prefork 2", "CPU of a mood: worker, pool"},
    "memory": {"parent RSS", "largest child RSS", "all processes PSS"},
}


@pytest.fixture(scope="module")
def quick_run(
    bare_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """Run the benchmark with few samples; return the JSON that it wrote."""
    file = tmp_path_factory.mktemp("bench") / "figures.json"
    command = (sys.executable, "-m", "bench.main_job", "--quick", "--json", file)
    done = subprocess.run(
        command, env=bare_environ, cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "From enqueue to record" in done.stdout
    report: dict[str, object] = json.loads(file.read_text())
    return report


def test_the_machine_and_its_versions_are_named(quick_run: dict[str, object]) -> None:
    """A figure is worth nothing without them."""
    machine = quick_run["machine"]
    assert isinstance(machine, dict)
    assert {"cores", "Python", "celery", "@atproto/pds"} <= machine.keys()


@pytest.mark.parametrize("section", _FIGURES)
def test_every_figure_stands_beside_another_of_the_same_run(
    quick_run: dict[str, object], section: str
) -> None:
    """Label, figure, what it is held against, and the ratio of the two."""
    sections = quick_run["sections"]
    assert isinstance(sections, dict)
    figures = sections[section]["figures"]
    assert _FIGURES[section] <= {figure["label"] for figure in figures}
    for figure in figures:
        assert figure["unit"]
        assert figure["beside"]
        assert figure["value"] >= 0
        assert figure["other"] > 0
        assert figure["ratio"] == pytest.approx(figure["value"] / figure["other"])
