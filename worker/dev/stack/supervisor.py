"""The guard: a process that outlives a killed stack just long enough to end its services.

Why not PR_SET_PDEATHSIG: it exists on Linux alone, fires when the *thread* that started the
service ends, and has to be set by Python code between fork and exec. Here every service joins
the guard's process group before its exec, and the guard waits for the end of a pipe whose other
end only the stack holds. A child on its way to exec still holds that end, so the pipe cannot end
before the child is in the group: no moment is left in which a service could be missed.
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

# HUP: a group whose parent dies while one of its members is stopped gets one from the kernel.
# A plain end of the pipe means that the stack is gone; a line means that all is well.
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
    """What to execute: the program, its arguments and the whole of its environment."""

    arguments: Sequence[str | Path]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path | None = None


class Reaper:
    """Starts processes that end when this one does, however it ends.

    The processes are in a group of their own, so Ctrl-C in a terminal reaches the stack alone,
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
        _let_go_in_forks(self)

    @property
    def alive(self) -> bool:
        """Whether the guard is still there to do its duty."""
        return self._process.poll() is None

    def spawn(self, command: Command, log: Path) -> subprocess.Popen[bytes]:
        """Start `command` with both outputs appended to `log`."""
        # An interrupt in here may leave a child that nobody knows: then the guard ends it.
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
        """Dismiss the guard; if a process still runs, let the guard end it first."""
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


def _let_go_in_forks(reaper: Reaper) -> None:
    """Close the pipe in forks that never exec: they would keep it open for a dead stack."""
    reference = weakref.ref(reaper)

    def let_go() -> None:
        if still_there := reference():
            still_there.hang_up()

    os.register_at_fork(after_in_child=let_go)
