"""Output of commands: tables, JSON, exit codes and errors; and interrupts.

Texts from documents and servers are not trusted: they are truncated, control characters are
escaped, and nothing is interpreted as markup. This also applies to the log lines of a command, and
to its errors. JSON is not truncated, and consists of printable ASCII characters.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, NoReturn

import click

from worker.core.text import format_traceback, printable, printable_lines, truncate
from worker.operations.text import as_text

Style = Literal["", "green", "yellow", "red", "bold"]
Cells = Sequence[str]
_MAX_CHARACTERS = 2000  # of a line or a cell
_STYLES: Mapping[Style, Mapping[str, Any]] = {
    "": {},
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


def expected_errors() -> tuple[type[Exception], ...]:
    """Return the errors to print without a traceback, imported when one is raised."""
    from worker.core.errors import MediaError
    from worker.core.settings.reader import SettingsError
    from worker.media.validation import LexiconFileError

    return (LexiconFileError, MediaError, SettingsError)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    On a narrow terminal, the columns with the highest priority number are dropped first; those
    with 0 are kept. The cells of a column that `wraps` may be wrapped at spaces.
    """

    name: str
    priority: int = 0
    wraps: bool = False

    def __str__(self) -> str:
        return self.name


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
    """Print a line, in colour on a terminal."""
    click.echo(click.style(shown(text), **_STYLES[style]), err=err)


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
    """Print a table, unless it has no rows; with rich on a terminal."""
    if not table.rows:
        return
    if sys.stdout.isatty():
        _show_rich(table)
    else:
        click.echo("\n".join(_plain_lines(table)))


def _plain_lines(table: Table) -> Iterable[str]:
    """Yield the lines of a table, with all columns but the last padded with spaces."""
    if table.title:
        yield shown(table.title)
    rows = [[shown(str(cell)) for cell in row] for row in (table.header, *table.rows) if row]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    indent = "  " if table.title else ""
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield (indent + "  ".join(padded)).rstrip()


def _show_rich(table: Table) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(
        title=shown(table.title) or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD if table.header else None,
        show_header=bool(table.header),
    )
    for name in table.header or table.rows[0]:
        grid.add_column(shown(str(name)) if table.header else "", overflow="fold")
    for number, row in enumerate(table.rows):
        style = table.styles[number] if number < len(table.styles) else ""
        grid.add_row(*(Text(shown(cell)) for cell in row), style=style or None)
    Console(highlight=False, markup=False).print(grid)


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
