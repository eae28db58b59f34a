"""Check the machine: Python, installed packages, limits of a process, and the clock.

The clock matters because leases, retries and rate limits compare times of several machines.
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

from worker.operations.doctor.results import CheckResult, Level, fail, judge, ok

SUBJECT = "machine"
_MIN_PYTHON = (3, 11)
_MIN_FILES = 1024  # open files; a worker process has a few dozen connections
_MIN_DISK = 500 * 2**20  # bytes; beat and Flower save their state on disk
Clock = Callable[[], float]
"""Returns the time of this machine in seconds since 1970."""
_WARN_SECONDS = 2.0  # seconds; an HTTP date has whole seconds only
_FAIL_SECONDS = 30.0  # seconds; more than a lease exceeds the time limit of its task
_ADVICE = "synchronize the clocks of both machines (chrony, systemd-timesyncd)"


@dataclass(frozen=True, slots=True)
class Package:
    """A requirement, and the installed version, if any."""

    requirement: str
    version: str | None


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Limits: `files` open at once, -1 for none; `free` bytes for temporary files."""

    python: tuple[int, ...]
    packages: tuple[Package, ...]
    files: int
    free: int


def fetch() -> MachineFacts:
    """Inspect this process and its machine."""
    needed = [Requirement(text) for text in requires("media-atproto") or ()]
    plain = [each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return MachineFacts(
        python=tuple(map(int, platform.python_version_tuple()[:2])),
        packages=tuple(Package(str(each), _installed_version(each.name)) for each in plain),
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        free=shutil.disk_usage(tempfile.gettempdir()).free,
    )


def evaluate(facts: MachineFacts) -> Iterator[CheckResult]:
    """Evaluate Python, packages and limits."""
    python = ".".join(map(str, facts.python))
    yield judge(
        SUBJECT,
        "Python",
        python,
        "use 3.11 or newer",
        passes=facts.python >= _MIN_PYTHON,
        level=Level.FAIL,
    )
    yield from _packages(facts.packages)
    files = "no limit" if facts.files < 0 else f"{facts.files} at most"
    advice = f"raise the limit to at least {_MIN_FILES} (ulimit -n, LimitNOFILE)"
    enough = facts.files < 0 or facts.files >= _MIN_FILES
    yield judge(SUBJECT, "open files", files, advice, passes=enough)
    free = f"{facts.free / 2**20:.0f} MiB are free for temporary files"
    yield judge(SUBJECT, "disk", free, "free disk space", passes=facts.free >= _MIN_DISK)


def _packages(packages: Sequence[Package]) -> Iterator[CheckResult]:
    advice = "install the versions in requirements.lock"
    faults = [package for package in packages if not _fits(package)]
    for package in faults:
        installed = f"version {package.version}" if package.version else "nothing"
        found = f"{package.requirement} is required, {installed} is installed"
        yield fail(SUBJECT, "packages", found, advice)
    if not faults:
        yield ok(SUBJECT, "packages", f"all {len(packages)} have the required versions")


def _fits(package: Package) -> bool:
    if package.version is None:
        return False
    return Requirement(package.requirement).specifier.contains(package.version, prereleases=True)


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def evaluate_clock(subject: str, ahead: float) -> CheckResult:
    """Evaluate how many seconds a service's clock is ahead of this machine's."""
    way = "ahead of" if ahead > 0 else "behind"
    found = f"{abs(ahead):.1f} s {way} this machine's clock"
    level = Level.FAIL if abs(ahead) > _FAIL_SECONDS else Level.WARN
    return judge(subject, "clock", found, _ADVICE, passes=abs(ahead) <= _WARN_SECONDS, level=level)
