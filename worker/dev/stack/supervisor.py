"""Start processes that end with the stack, even if it is killed.

A guard process outlives a killed stack for as long as it takes to end the services. Every service
joins the guard's process group before its exec. The guard waits for the end of a pipe whose other
end only the stack holds. A child between fork and exec still holds that end, so the pipe cannot
end before the child is in the group, and no service is missed.

PR_SET_PDEATHSIG is not used: it only exists on Linux, fires when the *thread* that started the
service ends, and has to be set by Python code between fork and exec.
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

# HUP is ignored because the kernel sends it to a group whose parent dies while a member is stopped.
# A line from the pipe dismisses the guard; its end without one means that the stack died.
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
    """A program with its arguments and its complete environment."""

    arguments: Sequence[str | Path]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path | None = None


class Reaper:
    """Starts processes that end when this one does.

    They are in a separate process group, so that Ctrl-C in a terminal only reaches the stack,
    which then stops them in order.
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
        # An interrupt before the end may leave an unknown child, which the guard then ends.
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
        """Kill the guard and all processes of its group, also the children of ended ones."""
        if self.alive:
            os.killpg(self._process.pid, signal.SIGKILL)

    def release(self) -> None:
        """Dismiss the guard; if a process is still running, the guard ends it first."""
        ended = all(child.poll() is not None for child in self._children)
        if ended and self._certain and self.alive:
            with suppress(BrokenPipeError):
                os.write(self._lifeline, b"farewell\n")
        self.hang_up()
        self._process.wait()
        for child in self._children:
            child.poll()

    def hang_up(self) -> None:
        """Close this process's end of the pipe."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def _close_in_forks(reaper: Reaper) -> None:
    """Close the pipe in forks without exec, which would keep it open after the stack's death."""
    reference = weakref.ref(reaper)

    def close() -> None:
        if existing := reference():
            existing.hang_up()

    os.register_at_fork(after_in_child=close)
