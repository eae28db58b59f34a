"""A service under supervision: started, asked whether it answers, stopped, killed or frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Protocol

from worker.dev.stack.errors import PortTakenError, StackError
from worker.dev.stack.supervisor import Command, Reaper

_STARTUP = 60.0
_GRACE = 10.0
_POLL = 0.05
_TAIL_LINES = 20
_TAIL_BYTES = 16_384


class Program(Protocol):
    """What is particular to one kind of service."""

    @property
    def name(self) -> str:
        """The service's name, as in its log file."""

    def url(self, port: int) -> str:
        """Return the address under which clients find it."""

    def command(self, port: int) -> Command:
        """Return what to execute."""

    def ready(self, port: int, pid: int) -> bool:
        """Ask the service on `port` whether it is process `pid` and fit for use."""


class Service:
    """The handle of one service; its port and data stay the same from start to start."""

    def __init__(self, program: Program, port: int, log: Path, reaper: Reaper) -> None:
        self._program = program
        self._reaper = reaper
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._log_start = 0
        self.name = program.name
        self.port = port
        self.url = program.url(port)
        self.log = log

    @property
    def running(self) -> bool:
        """Whether its process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of its process; raises StackError if it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise StackError(f"{self.name} is not running.")
        return self._process.pid

    @property
    def died(self) -> bool:
        """Whether it ended without being told to."""
        return self._wanted and not self.running

    def start(self) -> None:
        """Start it and wait until it answers, for 60 seconds at most.

        Raises StackError with the end of its log if it ends or stays silent. Does nothing if
        it already runs.
        """
        if not self.running:
            self.launch()
            self.await_ready()

    def launch(self) -> None:
        """Start its process without waiting for it; raises StackError if it is no program."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        try:
            self._process = self._reaper.spawn(self._program.command(self.port), self.log)
        except OSError as error:
            raise StackError(f"{self.name} cannot be executed: {error}.", code=self.name) from error
        self._wanted = True

    def await_ready(self) -> None:
        """Wait until it answers; raises StackError if it ends or stays silent."""
        deadline = time.monotonic() + _STARTUP
        while not self._is_ready():
            if time.monotonic() > deadline:
                self.kill()
                raise self._error(f"{self.name} did not answer within {_STARTUP:.0f} seconds.")
            time.sleep(_POLL)

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and kill it if it has not ended after 10 seconds."""
        self.terminate()
        self.await_end()

    def terminate(self) -> None:
        """Send SIGTERM without waiting; a frozen process is thawed to hear it."""
        self._wanted = False
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def await_end(self) -> None:
        """Wait for the end of a terminated process, and kill it if it does not come."""
        if self._process is None:
            return
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would."""
        self._wanted = False
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """Stop its process in its tracks (SIGSTOP): connections stay open, nothing answers."""
        pid = self.pid
        self._signal(signal.SIGSTOP)
        # The kernel stops the threads one by one: return when all stand still.
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def failure(self) -> StackError:
        """Return the error that tells how a service which died ended."""
        return self._error(f"{self.name} stopped by itself ({self._describe_exit()}).")

    def _is_ready(self) -> bool:
        if self.running:
            return self._program.ready(self.port, self.pid)
        self._wanted = False
        message = f"{self.name} did not start ({self._describe_exit()})."
        if "address already in use" in self._log_since_start().lower():
            error = self._error(f"{message} Port {self.port} is taken by another process.")
            raise PortTakenError(error.message, service=self.name)
        raise self._error(message)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _describe_exit(self) -> str:
        code = self._process.poll() if self._process is not None else None
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def _error(self, message: str) -> StackError:
        return StackError(f"{message}\n{log_tail(self.log, self._log_start)}", code=self.name)

    def _log_since_start(self) -> str:
        return read_tail(self.log, self._log_start)


def log_tail(log: Path, since: int = 0) -> str:
    """Name `log` and quote its last lines, for an error message."""
    lines = read_tail(log, since).splitlines()[-_TAIL_LINES:]
    quoted = "\n".join(f"  {line[:500]}" for line in lines) or "  (nothing)"
    return f"Log: {log}\nIts last lines:\n{quoted}"


def read_tail(log: Path, since: int) -> str:
    """Return what was written to `log` after the offset `since`, the last 16 KB at most."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(since, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")
