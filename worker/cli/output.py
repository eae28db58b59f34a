"""Output of commands: tables, JSON, exit codes and errors; and interrupts.

Texts from documents and servers are not trusted: they are truncated, control characters are
escaped, and nothing is interpreted as markup. This also applies to the log lines of a command, and
to its errors. JSON is not truncated, and consists of printable ASCII characters.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import chain
from typing import Any, Literal, NoReturn, TextIO

import click
from rich.cells import cell_len

from worker.cli.tables import Cells, Line, lay_out, lay_out_pairs, wrap
from worker.cli.tables import Column as Column  # noqa: PLC0414 - for the commands
from worker.core.text import format_traceback, printable, printable_lines, truncate
from worker.operations.text import as_text

Style = Literal["", "green", "yellow", "red", "bold"]
UNCHANGED = "Interrupted. Nothing was changed."
_MAX_CHARACTERS = 2000  # of a line or a cell
_STYLES: Mapping[Style, Mapping[str, Any]] = {
    "green": {"fg": "green"},
    "yellow": {"fg": "yellow"},
    "red": {"fg": "red"},
    "bold": {"bold": True},
}


class ExitCode(IntEnum):
    """Exit codes of all commands.

    OK: done, and nothing is wrong. FOUND: something is wrong, or was not done. ERROR: wrong usage,
    an unknown name, an invalid setting, or a service that does not respond. PENDING: items wait
    and are retried automatically. INTERRUPTED: by Ctrl-C.
    """

    OK = 0
    FOUND = 1
    ERROR = 2
    PENDING = 3
    INTERRUPTED = 130  # 128 + SIGINT, as in shells


class CommandError(click.ClickException):
    """An error that ends a command; the message may quote foreign text."""

    exit_code = ExitCode.ERROR

    def __init__(self, message: str) -> None:
        super().__init__(printable_lines(message))

    def format_message(self) -> str:
        return _wrap_error(self.message)


class UsageError(click.UsageError):
    """An error of wrong usage, with a message that fits the terminal."""

    def __init__(self, error: click.UsageError) -> None:
        super().__init__(printable_lines(error.format_message()), error.ctx)

    def format_message(self) -> str:
        return _wrap_error(self.message)


def _wrap_error(message: str) -> str:
    """Wrap a message, which click prints after `Error: `."""
    width = terminal_width(sys.stderr)
    if width is None:
        return message
    lines = [wrap(line, width, hanging=2) for line in f"Error: {message}".split("\n")]
    return "\n".join(chain.from_iterable(lines)).removeprefix("Error: ")


def expected_errors() -> tuple[type[Exception], ...]:
    """Return the errors to print without a traceback, imported when one is raised."""
    from worker.core.errors import MediaError
    from worker.core.settings.reader import SettingsError
    from worker.media.validation import LexiconFileError

    return (LexiconFileError, MediaError, SettingsError)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; without a header, the first column holds names."""

    rows: Sequence[Cells]
    header: Sequence[str | Column] = ()
    title: str = ""
    styles: Sequence[Style] = field(default=())


def shown(text: str) -> str:
    """Return a text as one printable line of limited length."""
    return printable(truncate(text, _MAX_CHARACTERS))


def echo(text: str, style: Style = "", *, err: bool = False) -> None:
    """Print a line; on a terminal in colour, and wrapped at spaces."""
    line = shown(text)
    if width := terminal_width(sys.stderr if err else sys.stdout):
        indent = len(line) - len(line.lstrip()) + 2
        line = "\n".join(wrap(line, width, indent))
    click.echo(_styled(line, style), err=err)


def _styled(text: str, style: Style) -> str:
    return click.style(text, **_STYLES[style]) if style else text


def print_json(value: object, *, indent: int | None = None) -> None:
    """Print a value as JSON: on one line, or indented."""
    text = json.dumps(value, indent=indent, default=as_text)
    click.echo(text.replace("\x7f", "\\u007f"))  # DEL, the only control that json leaves as it is


def exit_with(code: int) -> NoReturn:
    """End the command with an exit code."""
    click.get_current_context().exit(code)


@contextmanager
def on_interrupt(message: str) -> Iterator[None]:
    """On Ctrl-C, print what continues and how to go on, and end the command."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(err=True)  # ends the line after the terminal's ^C
        echo(message, err=True)
        exit_with(ExitCode.INTERRUPTED)


def print_table(table: Table) -> None:
    """Print a table, unless it has no rows; on a terminal, laid out for its width."""
    if not table.rows:
        return
    width = terminal_width(sys.stdout)
    indent = "  " if table.title else ""
    if table.title:
        echo(table.title, "bold")
    for line in _table_lines(table, width and width - len(indent)):
        text = (indent + line.text).rstrip()
        is_wider = width is not None and cell_len(text) > width
        click.echo(_styled(line.text if is_wider else text, _style_of(line, table)))


def _table_lines(table: Table, width: int | None) -> Sequence[Line]:
    rows = [[shown(str(cell)) for cell in row] for row in table.rows]
    if not table.header:
        return lay_out_pairs(rows, width)
    columns = [each if isinstance(each, Column) else Column(each) for each in table.header]
    return lay_out(columns, rows, width)


def _style_of(line: Line, table: Table) -> Style:
    if line.row == -1:
        return "bold"
    return table.styles[line.row] if line.row is not None and table.styles else ""


def allows_color() -> bool:
    """Return whether output on a terminal may be coloured (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and not _is_dumb()


def shows_progress() -> bool:
    """Return whether stderr is a terminal that can replace a line."""
    return sys.stderr.isatty() and not _is_dumb()


def _is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"


def terminal_width(stream: TextIO) -> int | None:
    """Return the columns of a terminal, or None if `stream` is not a terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


class _LineFormatter(logging.Formatter):
    """Formats the warnings of a command as printable lines."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name in logging
        return format_traceback(ei[1])


def print_errors_safely() -> None:
    """Make the log lines of a command, and the traceback of its exception, printable."""
    if logging.lastResort:
        logging.lastResort.setFormatter(_LineFormatter())
    sys.excepthook = lambda _type, error, _traceback: click.echo(format_traceback(error), err=True)


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt on SIGTERM, SIGHUP and SIGINT.

    SIGINT is set as well, because shells ignore it for background jobs.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, signal.default_int_handler)
