"""The `media-atproto` command as a process of its own, with all that it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from tests.environments import changed
from tests.waiting import wait_for
from tests.world import World
from worker.cli import main

PROGRAM = Path(sys.executable).with_name("media-atproto")


def run(arguments: Sequence[str | Path], environ: Mapping[str, str]) -> tuple[int, str, str]:
    """Run the command to its end; returns exit code, stdout and stderr."""
    done = subprocess.run(
        (PROGRAM, *arguments), env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def call(world: World, *arguments: str, **environ: str) -> Result:
    """Run the command in this process, in the environment of a world."""
    result = CliRunner().invoke(main, arguments, env=changed(world.environ, environ))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def call_typing(world: World, *arguments: str, typed: str) -> Result:
    """Run the command in this process, with a terminal as its stdin at which a text is typed."""
    ours, theirs = os.openpty()
    os.write(ours, typed.encode())
    with os.fdopen(theirs, "rb") as stdin:
        result = CliRunner().invoke(main, arguments, input=stdin, env=changed(world.environ, {}))
    os.close(ours)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def run_on_terminal(
    arguments: Sequence[str], environ: Mapping[str, str], typed: str = "", columns: int = 200
) -> tuple[int, str]:
    """Run the command on a terminal and type a text; return the exit code and the output."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    environ = {"TERM": "xterm-256color", **environ}
    process = subprocess.Popen(
        (PROGRAM, *arguments), env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = _read_all(ours)
    return process.wait(60), shown


def call_on_terminal(world: World, *arguments: str, columns: int, **environ: str) -> str:
    """Run the command in this process, in the environment of a world; return its stdout.

    Only stdout is a terminal, whose width it takes from COLUMNS.
    """
    ours, theirs = os.openpty()
    variables = {"TERM": "xterm", "COLUMNS": str(columns), **changed(world.environ, environ)}
    with ThreadPoolExecutor(1) as reader, pytest.MonkeyPatch.context() as patch:
        shown = reader.submit(_read_all, ours)
        for name, value in variables.items():
            patch.setenv(name, value)
        with (
            os.fdopen(theirs, "w") as screen,
            suppress(SystemExit),
            redirect_stdout(screen),
            redirect_stderr(StringIO()),
        ):
            main(arguments)
        return shown.result()


def _read_all(terminal: int) -> str:
    """Return all that was printed to a terminal, once its other end is closed."""
    shown = b""
    with suppress(OSError):  # Linux reports EIO when the other end is closed
        while data := os.read(terminal, 65_536):
            shown += data
    os.close(terminal)
    return shown.decode().replace("\r\n", "\n")


def has_no_findings(output: str) -> bool:
    """Return whether `audit --json` has read all accounts without findings; items may be failed."""
    lines = output.splitlines()
    summary = json.loads(lines[-1]).get("summary", {}) if lines else {}
    return bool(summary) and not (summary["unreadable"] or any(summary["findings"].values()))


@dataclass(frozen=True, slots=True)
class Terminal:
    """A running command in a session of its own, as a terminal gives it one."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """What it has complained about so far, progress included."""
        return (self.folder / "stderr").read_text()

    def await_said(self, text: str, *, within: float = 300) -> None:
        """Wait until the running command has printed a text, on stdout or stderr."""
        wait_for(
            lambda: text in self.stderr + self.stdout or self.process.poll() is not None,
            within=within,
            what=f"{text!r} to be printed",
        )
        assert self.process.poll() is None, self.stderr + self.stdout

    def press_ctrl_c(self) -> None:
        """Interrupt it and all else in the terminal's foreground, as the kernel does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def terminate(self) -> None:
        """Ask it to end, as a process manager does."""
        self.process.terminate()

    def children(self) -> list[psutil.Process]:
        """Return the processes that it has started, and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, name: str) -> psutil.Process:
        """Return the one child of that name."""
        (found,) = (child for child in self.children() if child.name() == name)
        return found

    def exit_code(self) -> int:
        """Wait for its end."""
        return self.process.wait(180)

    def left_behind(self) -> list[psutil.Process]:
        """Return what still runs of its session: every child is in it."""
        return [
            process
            for process in psutil.process_iter()
            if _session(process.pid) == self.process.pid
            and process.status() != psutil.STATUS_ZOMBIE
        ]


@contextmanager
def started(
    arguments: Sequence[str | Path], environ: Mapping[str, str], folder: Path
) -> Iterator[Terminal]:
    """Start the command, its output in `folder`; ends it if the test has not."""
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            (PROGRAM, *arguments), env=environ, stdout=out, stderr=err, start_new_session=True
        )
    terminal = Terminal(process, folder)
    try:
        yield terminal
    finally:
        process.terminate()
        process.wait(60)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
