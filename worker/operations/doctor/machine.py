"""Check the machine: Python, installed packages, limits of a process, and the clock.

Leases, retries and rate limits compare times of several machines.
"""

from __future__ import annotations

import platform
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from worker.operations.doctor.findings import Finding, doubtful, fine, wrong

SUBJECT = "machine"
_OLDEST = (3, 11)
_FILES = 1024  # a worker's process has some dozens of connections; 1,024 leaves room
_ROOM = 500 * 2**20  # bytes; where beat and Flower keep what they know
Clock = Callable[[], float]
"""Seconds since 1970, as this machine has it."""
_NOTICED = 2.0  # seconds; an HTTP date is cut to whole seconds
_TOO_FAR = 30.0  # seconds; what a lease has over the time limit of its task is less
_ADVICE = "have both machines keep their time (chrony, systemd-timesyncd)"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that is needed, by its requirement, and the version that is there, if any."""

    requirement: str
    version: str | None


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What was found: `files` may be open at once, `free` bytes are left for temporary files."""

    python: tuple[int, ...]
    packages: tuple[Package, ...]
    files: int
    free: int


def ask() -> MachineFacts:
    """Look at this process and its machine."""
    needed = [Requirement(text) for text in requires("media-atproto") or ()]
    plain = [each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return MachineFacts(
        python=tuple(map(int, platform.python_version_tuple()[:2])),
        packages=tuple(Package(str(each), _installed(each.name)) for each in plain),
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        free=shutil.disk_usage(tempfile.gettempdir()).free,
    )


def judge(facts: MachineFacts) -> Iterator[Finding]:
    """Judge what was found."""
    found = ".".join(map(str, facts.python))
    if facts.python < _OLDEST:
        yield wrong(SUBJECT, "Python", found, "use 3.11 or newer")
    else:
        yield fine(SUBJECT, "Python", found)
    yield from _packages(facts.packages)
    yield _open_files(facts.files)
    yield _disk(facts.free)


def _packages(packages: Sequence[Package]) -> Iterator[Finding]:
    advice = "install what requirements.lock says"
    faults = [package for package in packages if not _fits(package)]
    for package in faults:
        there = f"{package.version} is installed" if package.version else "it is not installed"
        yield wrong(SUBJECT, "packages", f"{package.requirement} is needed, {there}", advice)
    if not faults:
        yield fine(SUBJECT, "packages", f"all {len(packages)} are as this version needs them")


def _fits(package: Package) -> bool:
    if package.version is None:
        return False
    return Requirement(package.requirement).specifier.contains(package.version, prereleases=True)


def _open_files(files: int) -> Finding:
    if 0 <= files < _FILES:  # -1 is no limit
        advice = f"raise it to {_FILES} at least (ulimit -n, LimitNOFILE)"
        return doubtful(SUBJECT, "open files", f"{files} at most", advice)
    return fine(SUBJECT, "open files", "no limit" if files < 0 else f"{files} at most")


def _disk(free: int) -> Finding:
    found = f"{free / 2**20:.0f} MiB left for temporary files"
    if free < _ROOM:
        return doubtful(SUBJECT, "disk", found, "make room")
    return fine(SUBJECT, "disk", found)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def judge_clock(subject: str, ahead: float) -> Finding:
    """Judge how many seconds the clock of a service is ahead of this machine's."""
    way = "ahead of" if ahead > 0 else "behind"
    found = f"{abs(ahead):.1f} s {way} this machine's"
    if abs(ahead) > _TOO_FAR:
        return wrong(subject, "clock", found, _ADVICE)
    if abs(ahead) > _NOTICED:
        return doubtful(subject, "clock", found, _ADVICE)
    return fine(subject, "clock", found)
