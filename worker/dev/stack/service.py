"""Start one service, wait until it answers, and stop, kill or freeze it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Protocol

from worker.dev.stack.errors import PortTakenError, StackError
from worker.dev.stack.supervisor import Command, Reaper

_STARTUP = 60.0  # seconds
_GRACE = 10.0  # seconds
_POLL = 0.05
_TAIL_LINES = 20
_TAIL_BYTES = 16_384


class Program(Protocol):
    """A program that runs as a service, with its URL, command and readiness check."""

    @property
    def name(self) -> str:
        """The name of the service, for messages and its log file."""

    def url(self, port: int) -> str:
        """Return the URL for clients."""

    def command(self, port: int) -> Command:
        """Build the command that runs the program on `port` of the loopback."""

    def ready(self, port: int, pid: int) -> bool:
        """Return whether process `pid` responds on `port` and is ready for use."""


class Service:
    """Launches a program with an empty log; restarts keep its port, data and log."""

    def __init__(self, program: Program, port: int, log: Path, reaper: Reaper) -> None:
        self._program = program
        self._reaper = reaper
        self.name = program.name
        self.port = port
        self.url = program.url(port)
        self.log = log
        log.unlink(missing_ok=True)
        self._launch()

    @property
    def running(self) -> bool:
        """Whether the process exists, including a frozen process."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; raises StackError if the service is not running."""
        if not self.running:
            raise StackError(f"{self.name} is not running.")
        return self._process.pid

    def check(self) -> None:
        """Raise StackError if the process ended without being stopped."""
        if self._wanted and not self.running:
            message = f"{self.name} stopped unexpectedly ({self._describe_exit()})"
            raise self._error(f"{message}; start the same command again.")

    def start(self) -> None:
        """Start the service unless it is running, and wait until it is ready.

        Raises StackError if the program cannot be executed, and as `await_ready` does.
        """
        if not self.running:
            self._launch()
            self.await_ready()

    def await_ready(self) -> None:
        """Wait until the service is ready, for at most 60 seconds.

        Raises PortTakenError if its port is in use, or StackError if it ends or is not ready.
        """
        deadline = time.monotonic() + _STARTUP
        while not self._is_ready():
            if time.monotonic() > deadline:
                self.kill()
                raise self._error(f"{self.name} did not answer within {_STARTUP:.0f} seconds.")
            time.sleep(_POLL)

    def stop(self) -> None:
        """Send SIGTERM; kill the process if it has not ended after 10 seconds."""
        self.terminate()
        self.await_end()

    def terminate(self) -> None:
        """Send SIGTERM, and SIGCONT to resume a frozen process; do not wait."""
        self._wanted = False
        self._process.send_signal(signal.SIGTERM)
        self.thaw()

    def await_end(self) -> None:
        """Wait until the process has ended; kill it after 10 seconds."""
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL, which ends the process like a crash, and wait for its end."""
        self._wanted = False
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Suspend the process (SIGSTOP); connections stay open without responses."""
        pid = self.pid
        self._process.send_signal(signal.SIGSTOP)
        # The kernel stops the threads one by one; wait until all have stopped.
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Resume a frozen process (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    def _launch(self) -> None:
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        try:
            self._process = self._reaper.spawn(self._program.command(self.port), self.log)
        except OSError as error:
            raise StackError(f"{self.name} cannot be executed: {error}.", code=self.name) from error
        self._wanted = True

    def _is_ready(self) -> bool:
        if self.running:
            return self._program.ready(self.port, self._process.pid)
        self._wanted = False
        message = f"{self.name} did not start ({self._describe_exit()})."
        if "address already in use" in read_tail(self.log, self._log_start).lower():
            error = self._error(f"{message} Port {self.port} is taken by another process.")
            raise PortTakenError(error.message, service=self.name)
        raise self._error(message)

    def _describe_exit(self) -> str:
        code = self._process.poll()
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def _error(self, message: str) -> StackError:
        return StackError(f"{message}\n{log_tail(self.log, self._log_start)}", code=self.name)


def log_tail(log: Path, since: int = 0) -> str:
    """Format the path of `log` and its last 20 lines, for an error message."""
    lines = read_tail(log, since).splitlines()[-_TAIL_LINES:]
    quoted = "\n".join(f"  {line[:500]}" for line in lines) or "  (nothing)"
    return f"Log: {log}\nIts last lines:\n{quoted}"


def read_tail(log: Path, since: int) -> str:
    """Return the text of `log` after the offset `since`, at most the last 16 KB."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(since, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")
