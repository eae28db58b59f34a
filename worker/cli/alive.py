"""`media-atproto alive`: a health check for a worker or beat."""

from __future__ import annotations

import time
from pathlib import Path

import click


@click.command()
@click.argument(
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="HEARTBEAT_FILE",
)
@click.option(
    "--within",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long ago the file may have been touched.",
)
def alive(file: Path, within: float) -> None:
    """Tell whether a worker or beat is at work, by the FILE that it touches.

    FILE is what the process has as HEARTBEAT_FILE; without it, that variable is taken. A worker
    touches it every 5 seconds while it takes messages, so it is not alive either while Redis is
    away: it goes on by itself then, and need not be restarted. Nothing else is looked at.

    \b
    Exit codes:
      0  alive
      1  not alive
      2  wrong usage

    \b
      media-atproto alive /run/media-atproto/live.heartbeat --within 60
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    age = _age(file)
    if age is None:
        raise click.ClickException(f"not alive: there is no {file}")
    if age == float("inf"):
        raise click.ClickException(f"not alive yet: {file} was not touched since it was started")
    if age > within:
        raise click.ClickException(f"not alive: {file} was last touched {age:.0f} seconds ago")
    click.echo(f"alive: {file} was touched {age:.0f} seconds ago")


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
        raise click.ClickException(f"{file}: {error.strerror}") from error
    return max(0.0, time.time() - touched) if touched else float("inf")
