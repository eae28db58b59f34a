"""`media-atproto watch`: enqueue changes from MongoDB's change stream."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import complete_environment
from worker.cli.output import interrupt_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.operations.watch.sender import Producer


@click.command()
@click.pass_obj
def watch(env_file: Path | None) -> None:
    """Enqueue changed documents from MongoDB's change stream, until stopped.

    For programs that save documents and cannot be changed to enqueue them. MongoDB must be a
    replica set. The position is saved in the collection atproto_watch; a watcher that was stopped
    or killed continues from there. Several may run at the same time: duplicate messages change
    nothing. If MongoDB's oplog no longer contains the position, a sweep finds the differences.
    docs/operations.md lists changes that are not detected.

    \b
    Exit codes:
      0  stopped by SIGTERM or Ctrl-C
      2  error: wrong usage, an invalid or missing setting, or MongoDB is not a replica set

    \b
      media-atproto watch
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    interrupt_on_signals()
    try:
        complete_environment(env_file)
        _start_logging()
        _watch()
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("stopping on signal")


def _watch() -> None:
    from worker.core.settings import QueueSettings, WatchSettings
    from worker.database.backlog import Backlog
    from worker.database.mongo import connect
    from worker.database.removals import Removals
    from worker.database.store import DocumentStore
    from worker.operations.watch.checkpoint import CheckpointStore
    from worker.operations.watch.sender import Sender
    from worker.operations.watch.watcher import Watcher
    from worker.telemetry import sentry

    settings, queue = WatchSettings.load(os.environ), QueueSettings.load(os.environ)
    sentry.start(settings.sentry, (settings.mongodb.url, queue.redis_url))
    database = connect(settings.mongodb)
    store = DocumentStore(database, settings.guest_subject)
    with database.client:
        Watcher(
            database=database,
            checkpoints=CheckpointStore(database),
            backlog=Backlog(database, store),
            sender=Sender(store, Removals(database), _producer()),
            warn=partial(sentry.send_warning, "watch", "position_lost"),
            at_work=_heartbeat(queue.heartbeat_file),
        ).run()


def _heartbeat(file: Path | None) -> Callable[[], None]:
    """Return a function that touches HEARTBEAT_FILE, if it is set; raises SettingsError."""
    from worker.telemetry import heartbeat

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
