"""The Celery application and its signal hooks. `celery -A worker.app worker`.

Imported by producers too, so it loads nothing but Celery, and reads the environment only when
the first message is sent. Its configuration is in `worker.queue.config`.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    celeryd_after_setup,
    celeryd_init,
    import_modules,
    worker_process_init,
    worker_ready,
)
from kombu import Connection

from worker.core.settings import LogSettings, QueueSettings, Settings
from worker.core.settings.reader import SettingsError
from worker.queue.config import configuration, environment_configuration, worker_options
from worker.queue.messages import TaskFunctions
from worker.queue.names import BATCH_HARD_LIMIT, LIVE, MAX_COUNTDOWN, MAX_IN_FLIGHT_SECONDS

_M_MMAP_THRESHOLD = -3  # https://man7.org/linux/man-pages/man3/mallopt.3.html
_MIN_MAPPED_BYTES = 1 << 18
_CELERYS_OWN = "celery."  # its tasks apply any other, and nothing here sends them

log = logging.getLogger(__name__)


class LostResult(AsyncResult[Any]):
    """The result of a message that the queue did not take."""


class MediaCelery(Celery):
    """The application; `is_worker` is set in the processes that carry out tasks."""

    is_worker = False

    def connection_for_write(self, url: str | None = None, **kwargs: Any) -> Connection:
        """Return a connection to send on; raises SettingsError."""
        return super().connection_for_write(url or _broker(), **kwargs)

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Connection:
        """Return a connection to consume from; raises SettingsError."""
        return super().connection_for_read(url or _broker(), **kwargs)

    @cached_property
    def task_functions(self) -> TaskFunctions:
        """The functions of our tasks, by name."""
        self.loader.import_default_modules()
        own = {name: task for name, task in self.tasks.items() if not name.startswith(_CELERYS_OWN)}
        return {name: task.run for name, task in own.items()}

    def submit(
        self, task: str, args: Sequence[object], queue: str = LIVE, *, task_id: str | None = None
    ) -> bool:
        """Send a message for one of our tasks, by name; return whether the queue took it."""
        if task not in self.tasks:  # a producer has imported the tasks, and must not load the types
            self.loader.import_default_modules()
        result = self.tasks[task].apply_async(tuple(args), queue=queue, task_id=task_id)
        return not isinstance(result, LostResult)


def _broker() -> str:
    # Celery would fall back to a broker of its own choice.
    return QueueSettings.load(os.environ).broker_url.reveal()


# Not the process's current app: a producer may have a Celery application of its own.
app = MediaCelery("media-atproto", include=["tasks.sync", "tasks.periodic"], set_as_current=False)


@app.on_configure.connect
def configure(sender: MediaCelery, **_: object) -> None:
    """Make the configuration, the first time that any of it is needed.

    That may be as early as when something looks at a task, so a faulty environment raises
    nothing here: connecting does.
    """
    sender.add_defaults(configuration)
    with suppress(SettingsError):
        settings = QueueSettings.load(os.environ)
        sender.add_defaults(lambda: environment_configuration(settings))


@import_modules.connect
def check_media_types(**_: object) -> None:
    """Look at the types of other packages before the tasks load them, to say what is wrong."""
    from worker.core.errors import MediaTypeError
    from worker.media.registry import registry

    try:
        registry()
    except MediaTypeError as error:
        raise SystemExit(f"media-atproto: {error.message}") from None


@celeryd_init.connect
def configure_worker(conf: Any = None, **_: object) -> None:
    """Check the whole environment before anything starts, and load the engine before a fork."""
    from worker.telemetry import heartbeat

    try:
        settings = Settings.load(os.environ)
        queue = QueueSettings.load(os.environ)
        if queue.heartbeat_file is not None:
            heartbeat.create(queue.heartbeat_file)
    except SettingsError as error:
        raise SystemExit(f"media-atproto: {error}") from None
    app.is_worker = True
    conf.update(broker_transport_options=worker_options(queue), broker_connection_timeout=5)
    from worker.core.errors import MediaTypeError
    from worker.media.validation import LexiconFileError
    from worker.services import metrics_exporter, preload
    from worker.telemetry import sentry

    app.steps["consumer"].add(heartbeat.Heartbeat)
    sentry.start(settings)
    metrics_exporter().prepare()
    try:
        preload()
    except (LexiconFileError, MediaTypeError) as error:
        raise SystemExit(f"media-atproto: {error}") from None
    _return_freed_memory()


def _return_freed_memory() -> None:
    """Make glibc return freed blocks of 256 KiB and more to the system at once.

    Left to itself, glibc raises this limit to the size of the largest image that it has seen,
    and has each thread keep as much for itself: of 16 images of 20 MB, made one at a time by 8
    threads, 700 MB stayed. Does nothing where the C library knows no such limit.
    """
    import ctypes

    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MIN_MAPPED_BYTES)


@celeryd_after_setup.connect
def warn_if_visibility_too_short(**_: object) -> None:
    """Say so when a message may be delivered again while its task is still at work.

    That harms nothing but costs calls: the second run finds the document taken.
    """
    timeout = QueueSettings.load(os.environ).visibility_timeout
    if timeout <= MAX_IN_FLIGHT_SECONDS:
        log.warning(
            "VISIBILITY_TIMEOUT_SECONDS is %g: messages come again while they are worked on; "
            "a batch may take %d seconds after a wait of %d, so set more than %d",
            timeout,
            BATCH_HARD_LIMIT,
            MAX_COUNTDOWN,
            MAX_IN_FLIGHT_SECONDS,
        )


@import_modules.connect
def require_flower_auth(sender: object = None, **_: object) -> None:
    """End a Flower that would show everybody everything, however it was started.

    Raises SystemExit. Flower has its options by the time that it imports the tasks.
    """
    import click

    # Celery loads Flower for each of its programs, so that it is loaded says nothing.
    program = click.get_current_context(silent=True)
    if sender is not app or program is None or program.info_name != "flower":
        return
    from flower.options import options  # type: ignore[import-untyped]

    if not (options.basic_auth or options.auth):
        raise SystemExit(
            "media-atproto: Flower would be open to everybody. "
            "Set FLOWER_BASIC_AUTH=user:password and run: media-atproto flower"
        )


@after_setup_logger.connect
@after_setup_task_logger.connect
def configure_logging(logger: logging.Logger, loglevel: int | None = None, **_: object) -> None:
    """Have all lines look as LOG_FORMAT says, and nothing secret or superfluous among them."""
    from worker.telemetry import logs

    try:
        settings = LogSettings.load(os.environ)
    except SettingsError as error:
        raise SystemExit(f"media-atproto: {error}") from None
    logs.set_formatter(logger, settings.format)
    logs.silence_libraries(loglevel or logging.INFO)


@worker_ready.connect
def start_metrics_server(**_: object) -> None:
    """Begin to answer whoever collects metrics."""
    from worker.services import metrics_exporter

    metrics_exporter().serve()


@worker_process_init.connect
def build_services(**_: object) -> None:
    """Make the services of a child process, so that its first item does not wait for them."""
    from worker.core.errors import MediaError
    from worker.services import services

    try:
        services(is_worker=True).ensure_indexes()
    except MediaError as error:
        log.warning("indexes not checked: %s", error.message)
    _freeze_loaded_objects()


def _freeze_loaded_objects() -> None:
    """Have the garbage collector look only at what is made from now on.

    A task that fails leaves a third of a megabyte in cycles: Celery's copies of tracebacks. Left
    to itself, the collector waits until there is a quarter more than all that is loaded.
    Source: https://devguide.python.org/internals/garbage-collector/#collecting-the-oldest-generation
    """
    gc.freeze()
    gc.collect()
