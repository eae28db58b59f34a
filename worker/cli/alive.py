"""`media-atproto alive`: a health check for a worker or beat."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NoReturn

import click

from worker.cli.output import ExitCode, echo, exit_with


@click.command()
@click.argument(
    "file",
    required=False,
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="HEARTBEAT_FILE",
)
@click.option(
    "--within",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Maximum time since the file was touched.",
)
def alive(file: Path | None, within: float) -> None:
    """Check by its heartbeat FILE that a worker or beat is running.

    FILE is the HEARTBEAT_FILE of the process; the default is that variable. A worker touches the
    file every 5 seconds while it receives messages. While Redis is down it is therefore reported
    as not alive, but it need not be restarted: it reconnects by itself.

    \b
    Exit codes:
      0  alive
      1  not alive
      2  error: wrong usage, or the file cannot be read

    \b
      media-atproto alive /run/media-atproto/live.heartbeat --within 60
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    if file is None:
        message = "HEARTBEAT_FILE is not set either."
        raise click.MissingParameter(message, param_hint="'FILE'", param_type="argument")
    age = _age(file)
    if age is None:
        _exit_not_alive(f"not alive: {file} does not exist")
    if age == float("inf"):
        _exit_not_alive(f"not alive yet: {file} has not been touched since the start")
    if age > within:
        _exit_not_alive(f"not alive: {file} was last touched {age:.0f} seconds ago")
    echo(f"alive: {file} was touched {age:.0f} seconds ago")


def _exit_not_alive(message: str) -> NoReturn:
    echo(message, err=True)
    exit_with(ExitCode.FOUND)


def _age(file: Path) -> float | None:
    """Return the seconds since a file was touched, None if it is missing.

    Infinite if its process has only just started: see worker/telemetry/heartbeat.py. Uses the
    standard library only, because a health check must not load Celery.
    """
    try:
        touched = file.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}") from error
    return max(0.0, time.time() - touched) if touched else float("inf")
