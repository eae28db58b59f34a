"""Run commands at a terminal of a given width, or with their output in a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence

from tests.terminal import PROGRAM

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PROMPT = b": "
_ROWS = 50
_TIMEOUT = 120


def run_in_pipe(
    arguments: Sequence[str], environ: Mapping[str, str], *, errors: bool
) -> tuple[int, str]:
    """Run the command; return its exit code and output, with `errors` also stderr."""
    done = subprocess.run(
        (PROGRAM, *arguments),
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if errors else subprocess.DEVNULL,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    return done.returncode, done.stdout


def run_at_terminal(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    width: int,
    errors: bool,
    typed: str = "",
) -> tuple[int, str]:
    """Run the command at a terminal so wide, without colours; return exit code and output.

    Without `errors`, stderr is discarded, and progress with it.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, width, 0, 0))
    process = subprocess.Popen(
        (PROGRAM, *arguments),
        env={**environ, "TERM": "xterm-256color", "NO_COLOR": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs if errors else subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs)
    text = _ESCAPE.sub("", _converse(ours, typed).decode()).replace("\r\n", "\n")
    return process.wait(_TIMEOUT), "\n".join(_visible(line) for line in text.split("\n"))


def _visible(line: str) -> str:
    """Return what is left of a line on which progress was shown."""
    return line.rpartition("\r")[2].rstrip()


def _converse(terminal: int, typed: str) -> bytes:
    """Return all output; type the text at the first prompt, so that it is shown after it."""
    shown = b""
    with contextlib.suppress(OSError):  # Linux reports EIO when the other end is closed
        while data := os.read(terminal, 65_536):
            shown += data
            if typed and shown.endswith(_PROMPT):
                os.write(terminal, typed.encode())
                typed = ""
    os.close(terminal)
    return shown
