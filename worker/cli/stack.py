"""`media-atproto stack`: run the embedded services until Ctrl-C."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from worker.cli.output import interrupt_on_signals
from worker.dev.stack import Stack
from worker.dev.stack.data_folder import write_private
from worker.dev.stack.environment import as_env_file, as_exports

_CHECK_EVERY = 0.25
_MARK = "# Made by 'media-atproto stack', which replaces it whenever it starts.\n"


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".stack"),
    show_default=True,
    help="Folder for all data, logs and keys; later starts use it again.",
)
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the environment to this file, readable only by you.",
)
def stack(data: Path, env_file: Path | None) -> None:
    """Run MongoDB, Valkey and a PDS on this machine, until Ctrl-C.

    Prints their environment variables as `export` lines. A service that is already named in the
    environment (MONGODB_CONNECTION_STRING, REDIS_URL, PDS_URL) is used, not started.

    \b
    In one terminal:               media-atproto stack --env-file .env
    in others, which find .env:    media-atproto show painting ID
    for other programs:            set -a; . ./.env; set +a

    \b
    Exit codes:
      0    stopped by SIGTERM or Ctrl-C
      2    error: wrong usage, or a service does not start, or has died
      130  interrupted while the services start
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    if env_file is not None:
        _check_is_ours(env_file)
    interrupt_on_signals()
    with Stack.start(data, os.environ) as running:
        click.echo(as_exports(running.environment), nl=False)
        if env_file is not None:
            _write(env_file, running.environment)
        click.echo(f"Ready; data and logs in {data}. Ctrl-C stops all.", err=True)
        _wait(running)
        click.echo("Stopping...", err=True)


def _wait(running: Stack) -> None:
    """Return on Ctrl-C; raises StackError if a service dies before."""
    try:
        while True:
            running.check()
            time.sleep(_CHECK_EVERY)
    except KeyboardInterrupt:
        return


def _check_is_ours(file: Path) -> None:
    """Raise click.BadParameter if a file exists that this command did not write."""
    if file.exists() and not file.read_text(errors="replace").startswith(_MARK):
        message = f"{file} exists and was not made by this command. Move it, or name another."
        raise click.BadParameter(message, param_hint="--env-file")


def _write(file: Path, environment: dict[str, str]) -> None:
    try:
        write_private(file, _MARK + as_env_file(environment))
    except OSError as error:
        message = f"{file}: {error.strerror}"
        raise click.BadParameter(message, param_hint="--env-file") from error
