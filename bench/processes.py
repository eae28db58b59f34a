"""Processes that are measured: workers, and Python scripts; none outlives this one."""

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
from typing import Any, Self

import psutil

from worker.dev.stack import StackError
from worker.dev.stack.data_folder import DataFolder
from worker.dev.stack.service import log_tail, read_tail
from worker.dev.stack.supervisor import Command, Reaper

_ROOT = Path(__file__).resolve().parent.parent
_STARTUP = 120.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A running Celery worker."""

    popen: subprocess.Popen[bytes]
    log: Path

    def parent(self) -> psutil.Process:
        """Return the process that takes messages."""
        return psutil.Process(self.popen.pid)

    def children(self) -> list[psutil.Process]:
        """Return the pool's processes; a pool of threads has none."""
        return self.parent().children()

    def kill(self) -> None:
        """End it at once: it has nothing in hand, and asking it nicely takes two seconds."""
        if self.popen.poll() is None:
            for process in [*self.children(), self.parent()]:
                process.kill()
        self.popen.wait()


class Processes:
    """Starts processes whose bytecode is cached, whatever the environment says of that."""

    def __init__(self, folder: DataFolder, environment: Mapping[str, str]) -> None:
        uncached = "PYTHONDONTWRITEBYTECODE"
        self.environment = {k: v for k, v in environment.items() if k != uncached}
        self._folder = folder
        self._reaper = Reaper(folder.lock)
        self._numbers = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reaper.release()

    def start(self, name: str, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a program, and return it with the log that is named after it."""
        log = self._folder.path / f"{name}-{next(self._numbers)}.log"
        return self._reaper.spawn(Command(arguments, self.environment, _ROOT), log), log

    @contextmanager
    def worker(self, app: str, *options: str, niceness: int = 0) -> Iterator[Worker]:
        """Run `celery -A APP worker` until the block ends; it is ready to take messages."""
        celery = (sys.executable, "-W", "ignore", "-m", "celery", "-A", app, "worker")
        nice = ("nice", "-n", str(niceness)) if niceness else ()
        worker = Worker(*self.start("worker", *nice, *celery, "--loglevel", "INFO", *options))
        try:
            await_true(lambda: _is_ready(worker), _STARTUP, "the worker to be ready")
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

    @contextmanager
    def conversation(self, module: str) -> Iterator[Callable[[str], Any]]:
        """Run a module that answers each line it reads with a line of JSON."""
        with subprocess.Popen(
            (sys.executable, "-W", "ignore", "-m", module),
            env=self.environment,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:

            def ask(line: str) -> Any:
                stdin, stdout = process.stdin, process.stdout
                assert stdin is not None
                assert stdout is not None
                stdin.write(f"{line}\n")
                stdin.flush()
                return json.loads(stdout.readline())

            yield ask


def await_true(condition: Callable[[], bool], within: float, what: str) -> None:
    """Wait for a condition; raises StackError when it does not come true in so many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"Waited {within:.0f} seconds in vain for {what}.")
        time.sleep(0.02)


def _is_ready(worker: Worker) -> bool:
    if worker.popen.poll() is not None:
        raise StackError(f"The worker ended by itself.\n{log_tail(worker.log)}")
    return " ready." in read_tail(worker.log, 0)
