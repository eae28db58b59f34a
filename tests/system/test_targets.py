"""Run every make target that the README names, in its quick form."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
# Targets that other tests cover: the suites, the preparation of each target, and the one that
# writes into the pages (test_transcripts.py).
_COVERED = {"test", "test-system", "setup", "transcripts"}
# Titles and labels that a target prints, as regular expressions.
_PRINTED: Mapping[str, tuple[str, ...]] = {
    "demo": (r"All \d+ items are as expected", r"Next:\n.* demo --keep\n", " stack --env-file"),
    "faults": (r"\d+ faults? in \d+ seconds",),
    "bench": (
        *("cores ", "Python ", "celery ", "@atproto/pds "),
        *("import tasks", "CPU time", "RSS added"),
        *("Enqueueing", "enqueue p50", "enqueue p99", "enqueue max"),
        *("first call of a process max", "Redis stopped max", "Redis frozen max"),
        *("From enqueue to record", "mood p50", "mood p99"),
        *("painting 64x64 p50", "painting 64x64 p99"),
        *("Throughput of sync_media", "moods, prefork 2", "paintings, prefork 2"),
        "CPU of a mood: worker, pool",
        *("Memory of a worker", "parent RSS", "largest child RSS", "all processes PSS"),
    ),
    "bench-bulk": (
        *("Backfill of moods", "Backfill of paintings", "Restore of", "the old way"),
        *("CPU: pds", "CPU: worker, pool"),
        *("Peak memory", "worker, parent", "worker, largest child"),
        *("A save during a backfill", "during moods, p50", "during moods, p99"),
        *("during paintings, p99", "Audit of an account"),
        *(rf"\[{key}_vs_ceiling\]" for key in ("text", "painting", "restore")),
        *(rf"\[{key}_vs_old\]" for key in ("text", "painting", "restore")),
        *(r"\[rss_growth\]", r"\[live_p99_ratio\]", r"\[audit_vs_download\]"),
    ),
    "bench-peers": (
        *("Node 22", "sharp ", "sharp, as the script uses it", "sharp, tuned, PNG", "tuned, JPEG"),
        *("Quality of the thumbnails", "similarity, worst", r"\[thumbnail_ssim_worst\]"),
        *("Start-up", "bulk worker", "Paintings, beside", "Moods, beside", "CPU: all processes"),
        *(r"\[thumbnails_vs_sharp\]", r"\[thumbnail_bytes_vs_sharp\]"),
        *(r"\[paintings_vs_node\]", r"\[moods_vs_node\]"),
    ),
    "bench-limits": (
        *("no budgets\n", r"refused writes +[1-9]\d* ", "long windows\n", r"waiting +[1-9]\d* "),
        r"short windows\n(.*\n)+ *synced +(\d+) +items +\2 ",
    ),
    "bench-overload": (
        *("A save, with", "left on bulk p50", "left on sweep p99"),
        *("One account's first item", "saves on live: behind", "batches on bulk: behind"),
        "a sweep: of those done",
    ),
    "bench-images": ("The most memory of a worker's child", "PNG with texts", "a batch of"),
    "bench-web": (
        *("What the overview asks for", "published by", "page of 50", r"of \d+ tabs"),
        *("What /metrics takes of Redis", "longest command", r"\[metrics_redis_seconds\]"),
    ),
}
_WRITES_JSON = {"bench", "bench-bulk", "bench-peers", "bench-web"}


def make(environ: Mapping[str, str], *arguments: str | Path) -> str:
    """Run make with the environment of this interpreter, and no setup; return what it prints."""
    venv = Path(sys.prefix)
    command = ("make", f"VENV={venv}", f"--assume-old={venv / '.ready'}", *arguments)
    # A make that runs the tests would pass its options on.
    own = {name: value for name, value in environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, env=own, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("target", _PRINTED)
def test_target_runs_and_prints_its_sections(
    target: str, bare_environ: dict[str, str], tmp_path: Path
) -> None:
    """A benchmark that writes JSON has measured something beside each figure."""
    file = tmp_path / "figures.json"
    printed = make(bare_environ, target, "QUICK=1", f"JSON={file}")
    assert [label for label in _PRINTED[target] if not re.search(label, printed)] == [], printed
    assert file.exists() == (target in _WRITES_JSON)
    sections = json.loads(file.read_text())["sections"].values() if file.exists() else ()
    assert all(figure["other"] > 0 for section in sections for figure in section["figures"])


def test_every_target_of_the_readme_is_run_here() -> None:
    """As well as every benchmark of the Makefile."""
    readme, makefile = ((_ROOT / name).read_text() for name in ("README.md", "Makefile"))
    named = re.findall(r"(?:^make |`make )([a-z-]+)(?:`|$)", readme, re.M)
    benchmarks = re.findall(r"^(bench[a-z-]*):", makefile, re.M)
    assert {*named, *benchmarks} - _COVERED == _PRINTED.keys()
