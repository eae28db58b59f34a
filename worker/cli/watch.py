"""`media-atproto watch`: the change stream as a producer, for programs that cannot be changed."""

from __future__ import annotations

import logging
import os
import secrets
import socket
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
    from worker.operations.watch.watcher import Watcher
    from worker.services import Services


@click.command()
@click.pass_obj
def watch(env_file: Path | None) -> None:
    """Follow the changes of MongoDB's documents and enqueue them, until told to stop.

    For programs that save documents and cannot be taught to enqueue them. MongoDB has to be a
    replica set. Several may run: one watches, the others stand by and take over within 10
    seconds (WATCH_LEASE_SECONDS). How far it has come is kept in the collection atproto_watch;
    away or killed, it goes on from there. A position that MongoDB's oplog has lost is made up for
    by a sweep.

    SIGTERM and Ctrl-C hand over at once.

    \b
    Exit codes:
      0  it was told to stop
      1  it cannot watch: the environment is not complete, or MongoDB is no replica set

    \b
      media-atproto watch
      docs/operations.md says what it cannot see
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    interrupt_on_signals()
    try:
        with closing(open_services(env_file)) as services:
            _start_logging()
            _watch(services)
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("told to stop")


def _watch(services: Services) -> None:
    from worker.telemetry import sentry

    sentry.start(services.settings)
    watcher = _watcher(services)
    try:
        watcher.run()
    finally:
        _release_lease(watcher)


def _release_lease(watcher: Watcher) -> None:
    from worker.database.mongo import StoreUnavailableError

    try:
        watcher.checkpoints.release()
    except StoreUnavailableError as error:
        logging.getLogger(__name__).warning("the lease ends by itself: %s", error.message)


def _watcher(services: Services) -> Watcher:
    from worker.core.settings import WatchSettings
    from worker.operations.watch.checkpoint import CheckpointStore
    from worker.operations.watch.sender import Sender
    from worker.operations.watch.watcher import Watcher
    from worker.telemetry import sentry

    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    return Watcher(
        database=services.database,
        checkpoints=CheckpointStore(
            services.database, holder, WatchSettings.load(os.environ).lease
        ),
        backlog=services.backlog,
        sender=Sender(services.store, services.sweep.removals, _producer()),
        warn=partial(sentry.send_warning, "watch", "position_lost"),
        at_work=_heartbeat(),
    )


def _heartbeat() -> Callable[[], None]:
    """Return what touches HEARTBEAT_FILE, if there is one; raises SettingsError."""
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

    # A message that is not taken is kept here and sent again, which the watcher says itself.
    logging.getLogger("tasks.base").setLevel(logging.ERROR)
    return Producer(
        sync=lambda *args: app.submit("sync_media", args), sweep=lambda: app.submit("sweep", ())
    )


def _start_logging() -> None:
    from worker.core.settings import LogSettings
    from worker.telemetry import logs

    settings = LogSettings.load(os.environ)
    logging.basicConfig(level=logging.INFO)
    logs.set_formatter(logging.getLogger(), logs.LogFormat(settings.format))
    logs.silence_libraries(logging.INFO)
