"""The Node packages: installed once, by one process, completely or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# Installs in a process of its own and prints the folder; progress and failure go to stderr.
_INSTALL = """
import os, sys
from pathlib import Path
from worker.dev.stack import StackError
from worker.dev.stack.data_folder import DataFolder
from worker.dev.stack.supervisor import Reaper
from worker.dev.stack.packages import Packages
from worker.dev.stack.stack import to_stderr

manifest, data = map(Path, sys.argv[1:])
reaper = Reaper(DataFolder(data).lock)
try:
    packages = Packages("PDS", manifest, os.environ, ", or name PDS_URL")
    print(packages.install(reaper, to_stderr))
except StackError as error:
    sys.exit(str(error))
finally:
    reaper.release()
"""


def manifest(folder: Path) -> Path:
    """Write a manifest without dependencies, for which npm needs no network."""
    package = {"name": "tiny", "version": "1.0.0"}
    lock = {**package, "lockfileVersion": 3, "packages": {"": package}}
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps(package))
    (folder / "package-lock.json").write_text(json.dumps(lock))
    return folder


def install(
    source: Path, cache: Path, data: Path, environ: dict[str, str]
) -> subprocess.Popen[str]:
    """Start an installation of `source` below `cache`."""
    return subprocess.Popen(
        (sys.executable, "-c", _INSTALL, source, data),
        env={**environ, "XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_that_install_at_once_share_one_folder(
    tmp_path: Path, bare_environ: dict[str, str]
) -> None:
    """One of them installs; all of them get the same, complete folder."""
    source, cache = manifest(tmp_path / "source"), tmp_path / "cache"
    processes = [install(source, cache, tmp_path / f"data{n}", bare_environ) for n in range(3)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    (folder,) = {Path(printed.strip()) for printed, _ in outputs}
    assert (folder / "package-lock.json").exists()
    assert sum("Installing" in progress for _, progress in outputs) == 1
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]


def test_failed_installation_quotes_npm_and_leaves_no_folder(
    tmp_path: Path, bare_environ: dict[str, str]
) -> None:
    """A half-installed folder would be taken for a whole one ever after."""
    source = manifest(tmp_path / "source")
    (source / "package-lock.json").write_text("cut sho")
    process = install(source, tmp_path / "cache", tmp_path / "data", bare_environ)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "npm ci failed" in error
    assert "npm error" in error
    assert "PDS_URL" in error
    files = list((tmp_path / "cache" / "media-atproto").iterdir())
    assert files
    assert not [path for path in files if path.is_dir()]
