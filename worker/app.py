"""The Celery application and its signal handlers (`celery -A worker.app`).

Producers import this module too. It therefore imports only Celery and small modules, and reads the
environment only at its first use. The configuration is in `worker.queue.config`.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
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

# https://man7.org/linux/man-pages/man3/mallopt.3.html
_MALLOC_OPTIONS = {
    -1: 32 << 20,  # M_TRIM_THRESHOLD: free bytes at the end of the heap that are kept
    -3: 8 << 20,  # M_MMAP_THRESHOLD: blocks of this size and more are not in the heap
    -8: 1,  # M_ARENA_MAX: the number of heaps
}
_CELERYS_OWN = "celery."  # prefix of built-in tasks, which are unused: they can start any task

log = logging.getLogger(__name__)


@contextmanager
def _exit_on(*errors: type[Exception]) -> Iterator[None]:
    """Exit the process with the error message if one of `errors` is raised."""
    try:
        yield
    except errors as error:
        raise SystemExit(f"media-atproto: {error}") from None


class LostResult(AsyncResult[Any]):
    """The result of `apply_async` if the message could not be sent."""


class MediaCelery(Celery):
    """The Celery application; `is_worker` is True in processes that run tasks.

    Opening a connection raises SettingsError if the environment is invalid.
    """

    is_worker = False
    _task_functions: TaskFunctions | None = None

    def connection_for_write(self, url: str | None = None, **kwargs: Any) -> Connection:
        return super().connection_for_write(url or _broker(), **kwargs)

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Connection:
        return super().connection_for_read(url or _broker(), **kwargs)

    def task_functions(self) -> TaskFunctions:
        """Return the functions of the tasks by name, without Celery's built-in tasks.

        The first call imports the task modules.
        """
        if self._task_functions is None:
            self.loader.import_default_modules()
            self._task_functions = {
                name: task.run
                for name, task in self.tasks.items()
                if not name.startswith(_CELERYS_OWN)
            }
        return self._task_functions

    def submit(
        self,
        task: str,
        args: Sequence[object],
        queue: str = LIVE,
        *,
        task_id: str | None = None,
        quiet: bool = False,
    ) -> bool:
        """Send a message for the task named `task`; return whether it was sent.

        With `quiet`, no warning is logged: the caller reports a message that was not sent.
        """
        if task not in self.tasks:  # not in producers: they must not load the media types
            self.loader.import_default_modules()
        sender: Any = self.tasks[task]  # a `tasks.base.MediaTask`
        result = sender.apply_async(tuple(args), queue=queue, task_id=task_id, quiet=quiet)
        return not isinstance(result, LostResult)


def _broker() -> str:
    # Without a URL, Celery would use its default broker.
    return QueueSettings.load(os.environ).broker_url.reveal()


# Not set as the current app, because a producer may have its own Celery application.
app = MediaCelery(
    "media-atproto",
    include=["tasks.sync", "tasks.periodic"],
    loader="worker.queue.loader:InstalledLoader",
    events="worker.queue.events:WorkerEvents",
    set_as_current=False,
)


@app.on_configure.connect
def configure(sender: MediaCelery, **_: object) -> None:
    """Set the Celery configuration when it is first used, for example by a task.

    An invalid environment raises an error later, when a connection is opened.
    """
    sender.add_defaults(configuration)
    with suppress(SettingsError):
        settings = QueueSettings.load(os.environ)
        sender.add_defaults(lambda: environment_configuration(settings))


@import_modules.connect
def check_media_types(**_: object) -> None:
    """Load the media types of installed packages; exit if one is invalid."""
    from worker.core.errors import MediaTypeError
    from worker.media.registry import registry

    with _exit_on(MediaTypeError):
        registry()


@celeryd_init.connect
def configure_worker(conf: Any = None, **_: object) -> None:
    """Check the environment and load the engine before the fork; exit on errors."""
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
    sentry.start(settings.sentry, (settings.mongodb.url, settings.redis_url), settings.secret_keys)
    metrics_exporter().prepare()
    with _exit_on(LexiconFileError, MediaTypeError):
        preload()
    _limit_freed_memory()


def _limit_freed_memory() -> None:
    """Make glibc use one heap, return free memory above 32 MiB at its end, and all large blocks.

    By default, each thread has a heap that keeps up to the size of the largest freed block. After 8
    threads had created 16 images of 20 MB, one at a time, 700 MB were still in use. Returning all
    memory would take 7 ms for each thumbnail, because the next one has to map the pages again. Does
    nothing with C libraries that have no `mallopt`.
    """
    import ctypes

    with suppress(AttributeError):
        for option, value in _MALLOC_OPTIONS.items():
            ctypes.CDLL(None).mallopt(option, value)


@celeryd_after_setup.connect
def warn_if_visibility_too_short(**_: object) -> None:
    """Warn if messages may be redelivered while their tasks still run."""
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
def check_flower_options(sender: object = None, **_: object) -> None:
    """Exit if Flower has no login, or if other users can change its state file.

    Flower reads its options before it imports the tasks.
    """
    import click

    # Celery imports Flower for each of its commands, so check the name of the command.
    program = click.get_current_context(silent=True)
    if sender is not app or program is None or program.info_name != "flower":
        return
    from flower.options import options  # type: ignore[import-untyped]

    if not (options.basic_auth or options.auth):
        raise SystemExit(
            "media-atproto: Flower would be open to everybody. "
            "Set FLOWER_BASIC_AUTH=user:password and run: media-atproto flower"
        )
    if options.persistent:
        from worker.queue.flower_state import FlowerStateError, check_state_file

        with _exit_on(FlowerStateError):
            check_state_file(Path(options.db))


@after_setup_logger.connect
@after_setup_task_logger.connect
def configure_logging(logger: logging.Logger, loglevel: int | None = None, **_: object) -> None:
    """Format log lines by LOG_FORMAT, and silence libraries that log secrets."""
    from worker.telemetry import logs

    with _exit_on(SettingsError):
        settings = LogSettings.load(os.environ)
    logs.set_formatter(logger, settings.format)
    logs.silence_libraries(loglevel or logging.INFO)


@worker_ready.connect
def start_metrics_server(**_: object) -> None:
    """Start the HTTP server for Prometheus metrics."""
    from worker.services import metrics_exporter

    metrics_exporter().serve()


@celeryd_after_setup.connect
def create_missing_indexes(**_: object) -> None:
    """Create missing indexes before the fork: Celery gives a child 4 seconds to start."""
    from worker.core.errors import MediaError
    from worker.services import build

    # The clients are closed again, because sockets and locks do not survive the fork.
    with closing(build(Settings.load(os.environ))) as parent:
        try:
            parent.ensure_indexes()
        except MediaError as error:
            log.warning("indexes not checked: %s; run media-atproto init", error.message)


@worker_process_init.connect
def build_services(**_: object) -> None:
    """Build the services of a child process, without calls to other hosts."""
    from worker.services import services

    services(is_worker=True)
    # Exclude the loaded objects from garbage collection, so that it runs more often. A failed task
    # leaves 0.3 MB in reference cycles, because Celery copies tracebacks. By default, the collector
    # waits until the number of new objects is a quarter of all loaded ones.
    # Source: https://devguide.python.org/internals/garbage-collector/#collecting-the-oldest-generation
    gc.freeze()
    gc.collect()
