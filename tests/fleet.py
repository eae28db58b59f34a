"""Real processes, workers and beat among them, started the way an operator starts them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from tests.waiting import wait_for
from worker.dev.stack import Service

CELERY = (sys.executable, "-W", "ignore", "-m", "celery")
_STARTUP = 60.0
_WITHOUT_LEVEL = ("flower", "report")


@dataclass(frozen=True)
class Process:
    """A program and its log."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        """Return what it has logged so far."""
        return self.log.read_text(errors="replace")

    def children(self) -> list[psutil.Process]:
        """Return the pool's processes."""
        return psutil.Process(self.popen.pid).children()

    def await_ready(self) -> None:
        """Wait until a worker takes messages."""
        wait_for(lambda: " ready." in self.text, within=_STARTUP, what="the worker to be ready")

    def kill(self) -> None:
        """End the program and its children at once, as the kernel does."""
        for process in [psutil.Process(self.popen.pid), *self.children()]:
            process.kill()
        self.popen.wait()

    def stop(self) -> int:
        """Ask it to stop, as an operator does, and return its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout=60)


@contextmanager
def logged(command: Sequence[str | Path], log: Path, **options: Any) -> Iterator[Process]:
    """Run a program with options of Popen until the block ends; its output is added to a log."""
    with log.open("ab") as output:
        popen = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **options
        )
    process = Process(popen, log)
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def running(
    program: str,
    environ: dict[str, str],
    folder: Path,
    *options: str,
    celery: Sequence[str] = CELERY,
) -> Iterator[Process]:
    """Run `celery -A worker.app PROGRAM` until the block ends; of an option, the last counts.

    `celery` is how that is started.
    """
    log = folder / f"{program}-{len(list(folder.iterdir()))}.log"
    command = [*celery, "-A", "worker.app", program]
    level = () if program in _WITHOUT_LEVEL else ("--loglevel", "INFO")
    with logged([*command, *level, *options], log, env=environ) as process:
        yield process


class Stoppable(Protocol):
    """A service that can be stopped, and started again."""

    def stop(self) -> None:
        """Stop it."""

    def start(self) -> None:
        """Start it, and wait until it is ready."""


@contextmanager
def stopped(service: Stoppable) -> Iterator[None]:
    """Have a service stopped until the block ends."""
    service.stop()
    try:
        yield
    finally:
        service.start()


@contextmanager
def frozen(service: Service) -> Iterator[None]:
    """Have a service frozen until the block ends: connections stay open, nothing answers."""
    service.freeze()
    try:
        yield
    finally:
        service.thaw()


@contextmanager
def worker(
    environ: dict[str, str], folder: Path, concurrency: int = 2, *options: str
) -> Iterator[Process]:
    """Run a worker, ready to take tasks."""
    own = ("--concurrency", str(concurrency), *options)
    with running("worker", environ, folder, *own) as process:
        process.await_ready()
        yield process


@contextmanager
def beat(environ: dict[str, str], folder: Path) -> Iterator[Process]:
    """Run beat, which sends the sweeps."""
    with running("beat", environ, folder) as process:
        yield process
