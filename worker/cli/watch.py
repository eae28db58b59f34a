"""`media-atproto watch`: enqueue changes from MongoDB's change stream."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import open_services
from worker.cli.output import interrupt_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.operations.watch.sender import Producer
    from worker.services import Services


@click.command()
@click.pass_obj
def watch(env_file: Path | None) -> None:
    """Enqueue changed documents from MongoDB's change stream, until stopped.

    For programs that save documents and cannot be changed to enqueue them. MongoDB must be a
    replica set. The position is saved in the collection atproto_watch; a watcher that was stopped
    or killed continues from there. Several may run at the same time: duplicate messages change
    nothing. If MongoDB's oplog no longer contains the position, a sweep finds the differences.

    \b
    Exit codes:
      0  stopped by SIGTERM or Ctrl-C
      1  the environment is incomplete, or MongoDB is not a replica set

    \b
      media-atproto watch
      docs/operations.md lists changes that are not detected
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    interrupt_on_signals()
    try:
        with closing(open_services(env_file)) as services:
            _start_logging()
            _watch(services)
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("stopping on signal")


def _watch(services: Services) -> None:
    from worker.operations.watch.checkpoint import CheckpointStore
    from worker.operations.watch.sender import Sender
    from worker.operations.watch.watcher import Watcher
    from worker.telemetry import sentry

    sentry.start(services.settings)
    storage = services.storage
    Watcher(
        database=storage.database,
        checkpoints=CheckpointStore(storage.database),
        backlog=storage.backlog,
        sender=Sender(storage.store, storage.removals, _producer()),
        warn=partial(sentry.send_warning, "watch", "position_lost"),
        at_work=_heartbeat(),
    ).run()


def _heartbeat() -> Callable[[], None]:
    """Return a function that touches HEARTBEAT_FILE, if it is set; raises SettingsError."""
    from worker.core.settings import QueueSettings
    from worker.telemetry import heartbeat

    file = QueueSettings.load(os.environ).heartbeat_file
    if file is None:
        return lambda: None
    heartbeat.create(file)
    return partial(heartbeat.touch, file)


def _producer() -> Producer:
    from worker.app import app
    from worker.operations.watch.sender import Producer

    # The watcher sends a message until it is accepted, and logs failures itself.
    logging.getLogger("tasks.base").setLevel(logging.ERROR)
    return Producer(
        sync=lambda *args: app.submit("sync_media", args), sweep=lambda: app.submit("sweep", ())
    )


def _start_logging() -> None:
    from worker.core.settings import LogSettings
    from worker.telemetry import logs

    logs.start(LogSettings.load(os.environ), logging.INFO)
