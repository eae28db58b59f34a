"""The Celery application and its signal hooks. `celery -A worker.app worker`.

Producers import it too, so it imports nothing but Celery, and reads the environment only when the
first message is sent. The configuration is in `worker.queue.config`.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
_CELERYS_OWN = "celery."  # built-in tasks, which can start any other and are not used

log = logging.getLogger(__name__)


@contextmanager
def _exit_on(*errors: type[Exception]) -> Iterator[None]:
    """End the process with the message of an error."""
    try:
        yield
    except errors as error:
        raise SystemExit(f"media-atproto: {error}") from None


class LostResult(AsyncResult[Any]):
    """The result of a message that could not be sent."""


class MediaCelery(Celery):
    """The application; `is_worker` is True in the processes that run tasks.

    Connecting raises SettingsError for a faulty environment.
    """

    is_worker = False

    def connection_for_write(self, url: str | None = None, **kwargs: Any) -> Connection:
        return super().connection_for_write(url or _broker(), **kwargs)

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Connection:
        return super().connection_for_read(url or _broker(), **kwargs)

    @cached_property
    def task_functions(self) -> TaskFunctions:
        """Return the functions of our tasks by name."""
        self.loader.import_default_modules()
        own = {name: task for name, task in self.tasks.items() if not name.startswith(_CELERYS_OWN)}
        return {name: task.run for name, task in own.items()}

    def submit(
        self, task: str, args: Sequence[object], queue: str = LIVE, *, task_id: str | None = None
    ) -> bool:
        """Send a message for one of our tasks, by name; return whether it was sent."""
        if task not in self.tasks:  # producers have imported the tasks, and must not load the types
            self.loader.import_default_modules()
        result = self.tasks[task].apply_async(tuple(args), queue=queue, task_id=task_id)
        return not isinstance(result, LostResult)


def _broker() -> str:
    # Without a URL, Celery would use a default broker.
    return QueueSettings.load(os.environ).broker_url.reveal()


# Not the current app of the process: a producer may have its own Celery application.
app = MediaCelery("media-atproto", include=["tasks.sync", "tasks.periodic"], set_as_current=False)


@app.on_configure.connect
def configure(sender: MediaCelery, **_: object) -> None:
    """Set the configuration at its first use, as early as the access to a task.

    A faulty environment does not raise here, but when a connection is opened.
    """
    sender.add_defaults(configuration)
    with suppress(SettingsError):
        settings = QueueSettings.load(os.environ)
        sender.add_defaults(lambda: environment_configuration(settings))


@import_modules.connect
def check_media_types(**_: object) -> None:
    """Load the media types of other packages; exit if one cannot be used."""
    from worker.core.errors import MediaTypeError
    from worker.media.registry import registry

    with _exit_on(MediaTypeError):
        registry()


@celeryd_init.connect
def configure_worker(conf: Any = None, **_: object) -> None:
    """Check the environment, and load the engine before the worker forks."""
    from worker.telemetry import heartbeat

    with _exit_on(SettingsError):
        settings = Settings.load(os.environ)
        queue = QueueSettings.load(os.environ)
        if queue.heartbeat_file is not None:
            heartbeat.create(queue.heartbeat_file)
    app.is_worker = True
    conf.update(broker_transport_options=worker_options(queue), broker_connection_timeout=5)
    from worker.core.errors import MediaTypeError
    from worker.media.validation import LexiconFileError
    from worker.services import metrics_exporter, preload
    from worker.telemetry import sentry

    app.steps["consumer"].add(heartbeat.Heartbeat)
    sentry.start(settings)
    metrics_exporter().prepare()
    with _exit_on(LexiconFileError, MediaTypeError):
        preload()
    _return_freed_memory()


def _return_freed_memory() -> None:
    """Make glibc return freed blocks of 256 KiB and more to the system immediately.

    By default, glibc raises this limit to the size of the largest block so far, and each thread
    keeps that much: after 16 images of 20 MB, created one at a time by 8 threads, 700 MB were still
    in use. Does nothing with other C libraries.
    """
    import ctypes

    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MIN_MAPPED_BYTES)


@celeryd_after_setup.connect
def warn_if_visibility_too_short(**_: object) -> None:
    """Warn if messages may be redelivered while their tasks run: this costs calls."""
    timeout = QueueSettings.load(os.environ).visibility_timeout
    if timeout <= MAX_IN_FLIGHT_SECONDS:
        log.warning(
            "VISIBILITY_TIMEOUT_SECONDS is %g: messages will be redelivered while still being "
            "processed; set it above %d (batch limit %d + countdown %d)",
            timeout,
            MAX_IN_FLIGHT_SECONDS,
            BATCH_HARD_LIMIT,
            MAX_COUNTDOWN,
        )


@import_modules.connect
def require_flower_auth(sender: object = None, **_: object) -> None:
    """Exit Flower, which has read its options by now, if it has no login."""
    import click

    # Celery imports Flower for each of its programs, so the import alone is no sign of it.
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
    """Format all log lines by LOG_FORMAT, without secrets and the noise of libraries."""
    from worker.telemetry import logs

    with _exit_on(SettingsError):
        settings = LogSettings.load(os.environ)
    logs.set_formatter(logger, settings.format)
    logs.silence_libraries(loglevel or logging.INFO)


@worker_ready.connect
def start_metrics_server(**_: object) -> None:
    """Start the HTTP server of the metrics."""
    from worker.services import metrics_exporter

    metrics_exporter().serve()


@worker_process_init.connect
def build_services(**_: object) -> None:
    """Build the services of a child process before its first item."""
    from worker.core.errors import MediaError
    from worker.services import services

    try:
        services(is_worker=True).ensure_indexes()
    except MediaError as error:
        log.warning("indexes not checked: %s", error.message)
    # Collect garbage early, by excluding the loaded objects: a failed task leaves a third of a
    # megabyte in cycles, Celery's copies of tracebacks. By default the collector waits until the
    # number of new objects is a quarter of all loaded ones.
    # Source: https://devguide.python.org/internals/garbage-collector/#collecting-the-oldest-generation
    gc.freeze()
    gc.collect()
