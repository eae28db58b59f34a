"""The import direction is checked: each contract of import-linter fails when it is violated."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")
CONTRACTS = (
    "Imports go down, and the worker runs without operations, web, dev and cli",
    "Redis, MongoDB and the PDS do not know each other",
    "Of the operations, only doctor and status import a neighbour",
    "Only the demo imports tasks",
    "There are no cycles",
)


@pytest.mark.parametrize(
    ("importer", "imported", "broken"),
    [
        ("worker/sync/engine.py", "worker.operations.text", CONTRACTS[0]),
        ("worker/core/clock.py", "worker.media.mood", CONTRACTS[0]),
        ("worker/pds/repo.py", "worker.database.store", CONTRACTS[1]),
        ("worker/operations/watch/watcher.py", "worker.operations.audit.run", CONTRACTS[2]),
        ("worker/cli/items.py", "tasks.sync", CONTRACTS[3]),
        ("worker/sync/retry.py", "worker.sync.engine", CONTRACTS[4]),
    ],
)
def test_contract_fails_when_violated(
    tmp_path: Path, importer: str, imported: str, broken: str
) -> None:
    """An import inside a function counts like any other."""
    for package in ("worker", "tasks"):
        ignored = shutil.ignore_patterns("__pycache__", "node", "static", "templates")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / importer).open("a") as file:
        file.write(f"\n\ndef violate() -> None:\n    import {imported}\n")
    result = subprocess.run(
        [LINTER, "--no-cache", "--no-logo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout
    assert f"{broken} BROKEN" in result.stdout
