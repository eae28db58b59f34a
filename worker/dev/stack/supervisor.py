"""Start processes that end with the stack, even if it is killed.

A guard process ends the services after the stack is killed. It reads from a pipe. Only the stack
has the write end, so the guard sees the end of the pipe when the stack ends. Each service joins the
guard's process group before its exec. A child between fork and exec still has the write end open,
so the pipe cannot end before the child is in the group, and the guard ends every service.

PR_SET_PDEATHSIG is not used: it exists only on Linux, sends its signal when the *thread* that
started the service ends, and must be set by Python code between fork and exec.
"""

from __future__ import annotations

import os
import signal
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

# HUP is ignored because the kernel sends it to an orphaned group that has a stopped member. The
# guard exits if it reads a line. If the pipe ends without a line, the stack has died.
_SCRIPT = """
trap '' HUP INT TERM
read -r farewell && exit 0
kill -TERM 0
kill -CONT 0
sleep 3
kill -KILL 0
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, its complete environment and its working folder."""

    arguments: Sequence[str | Path]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path | None = None


class Reaper:
    """Starts processes, and a guard that ends them when the current process ends.

    They are in a separate process group. So Ctrl-C in a terminal interrupts only the stack, which
    then stops the services in order. `inherit` is a file descriptor that all processes inherit.
    """

    def __init__(self, inherit: int) -> None:
        self._inherit = inherit
        reading, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                ("/bin/sh", "-c", _SCRIPT),
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
                pass_fds=(inherit,),
            )
        finally:
            os.close(reading)
        self._children: list[subprocess.Popen[bytes]] = []
        self._certain = True
        _close_in_forks(self)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def spawn(self, command: Command, log: Path) -> subprocess.Popen[bytes]:
        """Start `command` with stdout and stderr appended to `log`."""
        # If an interrupt leaves a child that is not in the list, the guard must end it.
        self._certain = False
        with log.open("ab") as output:
            child = subprocess.Popen(
                command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=command.environment,
                cwd=command.folder,
                process_group=self._process.pid,
                pass_fds=(self._inherit,),
            )
        self._children = [*(old for old in self._children if old.poll() is None), child]
        self._certain = True
        return child

    def kill_group(self) -> None:
        """Kill the guard and its process group, including children of ended processes."""
        if self.alive:
            os.killpg(self._process.pid, signal.SIGKILL)

    def release(self) -> None:
        """Make the guard exit, and wait for it; the guard ends running processes first."""
        ended = all(child.poll() is not None for child in self._children)
        if ended and self._certain and self.alive:
            with suppress(BrokenPipeError):
                os.write(self._lifeline, b"farewell\n")
        self.hang_up()
        self._process.wait()
        for child in self._children:
            child.poll()

    def hang_up(self) -> None:
        """Close the write end of the pipe."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def _close_in_forks(reaper: Reaper) -> None:
    """Close the pipe in forks without exec; they would keep it open after the stack."""
    reference = weakref.ref(reaper)

    def close() -> None:
        if existing := reference():
            existing.hang_up()

    os.register_at_fork(after_in_child=close)
