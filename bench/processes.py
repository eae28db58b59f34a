"""Start workers, commands and scripts as processes that end with this one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from worker.dev.stack import StackError
from worker.dev.stack.packages import Packages
from worker.dev.stack.service import log_tail, read_tail
from worker.dev.stack.stack import to_stderr
from worker.dev.stack.supervisor import Command, Reaper

CELERY = (sys.executable, "-W", "ignore", "-m", "celery", "-A")
MEDIA_ATPROTO = str(Path(sys.executable).with_name("media-atproto"))
_ROOT = Path(__file__).resolve().parent.parent
_STARTUP = 120.0


@dataclass(frozen=True, slots=True)
class Process:
    """A running program and its log."""

    popen: subprocess.Popen[bytes]
    log: Path

    def await_output(self, text: str) -> None:
        """Wait until the log contains a text; raises StackError when the program ends before."""
        wait_until(lambda: self._has_written(text), f"{text!r} in {self.log.name}", _STARTUP)

    def parent(self) -> psutil.Process:
        """Return the program's own process."""
        return psutil.Process(self.popen.pid)

    def children(self) -> list[psutil.Process]:
        """Return the processes of a worker's pool; a pool of threads has none."""
        return self.parent().children()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Stop the program and its children until the block ends."""
        processes = [self.parent(), *self.children()]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def kill(self) -> None:
        """End the program and its children at once."""
        if self.popen.poll() is None:
            for process in [*self.children(), self.parent()]:
                process.kill()
        self.popen.wait()

    def _has_written(self, text: str) -> bool:
        if self.popen.poll() is not None:
            raise StackError(f"A process ended by itself.\n{log_tail(self.log)}")
        return text in read_tail(self.log, 0)


class Processes:
    """Starts processes in an environment; their logs are in a folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str], reaper: Reaper) -> None:
        self.folder = folder
        self.environment = environment
        self._reaper = reaper
        self._numbers = count()

    def start(self, name: str, *command: str, **variables: str) -> Process:
        """Start a program with additional environment variables."""
        log = self.folder / f"{name}-{next(self._numbers)}.log"
        environment = {**self.environment, **variables}
        return Process(self._reaper.spawn(Command(command, environment, _ROOT), log), log)

    def install(self, packages: Packages) -> Path:
        """Install Node packages if needed; return the folder with node_modules."""
        return packages.install(self._reaper, to_stderr)

    @contextmanager
    def worker(
        self, *options: str, app: str = "worker.app", niceness: int = 0
    ) -> Iterator[Process]:
        """Run a Celery worker until the block ends; it is ready to take messages."""
        nice = ("nice", "-n", str(niceness)) if niceness else ()
        command = (*nice, *CELERY, app, "worker", "--loglevel", "INFO", *options)
        worker = self.start("worker", *command)
        try:
            worker.await_output(" ready.")
            yield worker
        finally:
            worker.kill()

    def evaluate(self, script: str) -> Any:
        """Run a script in a fresh process, and return the JSON that it prints."""
        command = (sys.executable, "-c", script)
        done = subprocess.run(
            command, env=self.environment, cwd=_ROOT, stdout=subprocess.PIPE, check=True
        )
        return json.loads(done.stdout)


def wait_until(
    condition: Callable[[], bool], what: str, within: float = 600.0, every: float = 0.02
) -> None:
    """Wait until a condition is true; raises StackError after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"Waited {within:.0f} seconds in vain for {what}.")
        time.sleep(every)
