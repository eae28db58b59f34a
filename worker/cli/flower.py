"""`media-atproto flower`: run Flower with our configuration and a login."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import click

from worker.cli.environment import complete_environment
from worker.cli.output import CommandError

# Milliseconds between saves; a killed process loses the time since the last one. Unlike _CONFIG,
# it can be overridden by a variable.
_STATE_SAVE_INTERVAL = "30000"
_CONFIG = Path(__file__).parents[1] / "queue" / "flower.py"


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at; for others than the loopback, put a TLS proxy in front.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=5555, show_default=True)
@click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File in which Flower keeps its state across restarts, in a folder that only you can "
    "write to.  [default: media-atproto/flower-state in $XDG_STATE_HOME or ~/.local/state]",
)
@click.pass_obj
def flower(env_file: Path | None, host: str, port: int, db: Path | None) -> None:
    """Run Flower, which shows the workers and the result of each message, until Ctrl-C.

    Needs FLOWER_BASIC_AUTH=user:password, the login for its pages; `/metrics` and `/healthcheck`
    need no login, as usual in Flower. It is read-only. Tasks are named by their document; the
    state of a task whose item waits is RETRY, not SUCCESS. Other options of Flower can be set as
    FLOWER_NAME, such as FLOWER_URL_PREFIX.

    \b
    Exit codes:
      0  stopped by SIGTERM or Ctrl-C
      2  error: wrong usage, an invalid or missing setting, Flower is not installed, or others
         can change its file

    \b
      FLOWER_BASIC_AUTH="ops:$(openssl rand -hex 16)" media-atproto flower
      media-atproto flower --db /var/lib/media-atproto/flower
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    complete_environment(env_file)
    if importlib.util.find_spec("flower") is None:
        raise CommandError("Flower is not installed: pip install 'media-atproto[flower]'")
    from worker.core.settings import FlowerSettings, QueueSettings

    QueueSettings.load(os.environ)
    login = FlowerSettings.load(os.environ).basic_auth.reveal()
    from worker.app import app
    from worker.queue.config import flower_options
    from worker.queue.flower_state import FlowerStateError, default_state_file

    try:
        file = db or default_state_file(os.environ)
    except FlowerStateError as error:
        raise CommandError(str(error)) from error

    app.conf.update(broker_transport_options=flower_options())
    # Not as an option: other users of this machine can read command lines.
    os.environ["FLOWER_BASIC_AUTH"] = login
    os.environ.setdefault("FLOWER_STATE_SAVE_INTERVAL", _STATE_SAVE_INTERVAL)
    options = (f"--address={host}", f"--port={port}", f"--db={file}", f"--conf={_CONFIG}")
    app.start(["flower", *options])
