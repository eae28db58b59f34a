"""Installing Chromium: its program, the libraries that it needs, and axe, which judges pages."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Playwright

from worker.dev.stack.data_folder import DataFolder
from worker.dev.stack.packages import NODE, Packages
from worker.dev.stack.stack import to_stderr
from worker.dev.stack.supervisor import Reaper

_HERE = Path(__file__).parent
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}/fonts-cache</cachedir>
</fontconfig>
"""
# All tests run on the loopback; the sandbox needs what containers do not give.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@dataclass(frozen=True, slots=True)
class Chromium:
    """An installed Chromium and what is beside it."""

    folder: Path

    @property
    def axe(self) -> Path:
        """Return the script that judges how accessible a page is."""
        return self.folder / "node_modules" / "axe-core" / "axe.min.js"

    def launch(self, playwright: Playwright) -> Browser:
        """Start it in an environment in which it finds its libraries and a font."""
        own = {"LD_LIBRARY_PATH": str(self.folder / "lib"), "FONTCONFIG_PATH": str(self.folder)}
        return playwright.chromium.launch(
            executable_path=self.folder / "chromium",
            args=list(_ARGUMENTS),
            env={**os.environ, **own},
        )


def install(environ: Mapping[str, str], data: Path) -> Chromium:
    """Return Chromium, installed now if need be; raises StackError if npm fails.

    `data` is a folder of this process's own.
    """
    packages = Packages("browser", _HERE, environ)
    reaper = Reaper(DataFolder(data).lock)
    try:
        chromium = Chromium(packages.install(reaper, to_stderr))
    finally:
        reaper.release()
    _unpack(chromium.folder, NODE.locate())
    return chromium


def _unpack(folder: Path, node: Path) -> None:
    """Unpack once, whoever comes first."""
    done = folder / "unpacked"
    with (folder / "unpacking").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return
        subprocess.run((node, _HERE / "unpack.mjs", folder), check=True, timeout=300)
        for name in ("al2023.tar", "fonts.tar"):
            with tarfile.open(folder / name) as archive:
                archive.extractall(folder, filter="data")
            (folder / name).unlink()
        (folder / "fonts.conf").write_text(_FONTS.format(folder=folder))
        done.touch()
