"""Prometheus's own judge of rules, from Debian's package where the machine has none."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

_PACKAGE = "prometheus"


def find_promtool(cache: Path) -> Path | str:
    """Return the program, fetched into `cache` if need be; or why it cannot be had.

    Nothing is installed: the package is only unpacked, which takes no rights.
    """
    installed = shutil.which("promtool")
    if installed:
        return Path(installed)
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return "promtool is not installed, and this is no Debian to fetch it from"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _unpacked(cache)


def _unpacked(cache: Path) -> Path | str:
    program = cache / "usr" / "bin" / "promtool"
    if program.exists():
        return program
    try:
        fetched = subprocess.run(
            ("apt-get", "-qq", "download", _PACKAGE),
            check=False,
            cwd=cache,
            capture_output=True,
            text=True,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        return "promtool is not installed, and apt-get does not fetch it in two minutes"
    packages = sorted(cache.glob(f"{_PACKAGE}_*.deb"))
    if fetched.returncode or not packages:
        return f"promtool is not installed, and apt-get has it not: {fetched.stderr.strip()[:300]}"
    subprocess.run(("dpkg-deb", "-x", packages[-1], cache), check=True, timeout=120)
    packages[-1].unlink()
    return program
