"""The Celery application: queues, delivery and limits. `celery -A worker.app worker`.

Imported by producers too, so it loads nothing but Celery, and reads the environment only when
the first message is sent. Why each setting is as it is: docs/architecture.md.
"""

from __future__ import annotations

import gc
import logging
import os
from contextlib import suppress
from typing import Any

from celery import Celery
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    celeryd_after_setup,
    celeryd_init,
    import_modules,
    worker_process_init,
    worker_ready,
)
from kombu import Connection, Exchange, Queue

from worker.environment import SettingsError
from worker.settings import LogSettings, QueueSettings, Settings

LIVE = "live"  # saves, one item a message
SWEEP = "sweep"  # what the sweep has found, one item a message
BULK = "bulk"  # batches of one account
FRONT, BEHIND = 0, 9  # priorities: what is behind is taken when no queue has anything in front
LONGEST_COUNTDOWN = 30.0  # seconds; a longer wait is `retryAt` in MongoDB and the sweep's
_BEFORE_PRIORITY = "\x06\x16"  # kombu's
_SOFT_LIMIT = 75
HARD_LIMIT = 90
BATCH_SOFT_LIMIT = 150
BATCH_HARD_LIMIT = 180
LONGEST_IN_HAND = BATCH_HARD_LIMIT + LONGEST_COUNTDOWN  # seconds that a worker may keep a message
MEMORY_CEILING = 400_000_000  # bytes, of a child; one that ever had more is replaced after its task

log = logging.getLogger(__name__)


class MediaCelery(Celery):
    """The application; `is_worker` is set in the processes that carry out tasks."""

    is_worker = False

    def connection_for_write(self, url: str | None = None, **kwargs: Any) -> Connection:
        """Return a connection to send on; raises SettingsError."""
        return super().connection_for_write(url or _broker(), **kwargs)

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Connection:
        """Return a connection to consume from; raises SettingsError."""
        return super().connection_for_read(url or _broker(), **kwargs)


def _broker() -> str:
    # Celery would fall back to a broker of its own choice.
    return QueueSettings.load(os.environ).broker_url.reveal()


def _from_environment(settings: QueueSettings) -> dict[str, object]:
    return {
        "broker_url": settings.broker_url.reveal(),
        "beat_schedule": _schedule(settings.sweep_interval),
    }


def _configuration() -> dict[str, object]:
    return {
        "broker_transport_options": _impatient(),
        "broker_connection_timeout": 0.1,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_limit": 64,
        "task_publish_retry": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_queues": [_queue(LIVE), _queue(SWEEP), _queue(BULK)],
        "task_default_queue": LIVE,
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": _SOFT_LIMIT,
        "task_time_limit": HARD_LIMIT,
        "worker_consumer": "worker.consumer:LoneConsumer",
        "beat_scheduler": "worker.heartbeat:Scheduler",
        "beat_max_loop_interval": 15,
        "worker_enable_remote_control": False,
        # A process waits for MongoDB and the PDS half of its time (docs/figures.md).
        "worker_concurrency": 2 * (os.cpu_count() or 1),
        "worker_prefetch_multiplier": 1,
        "worker_max_tasks_per_child": 1000,
        "worker_max_memory_per_child": MEMORY_CEILING // 1024,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }


def list_of(queue: str, priority: int) -> str:
    """Return the name of the Redis list where messages of a priority wait: kombu's `_q_for_pri`."""
    return f"{queue}{_BEFORE_PRIORITY}{priority}" if priority else queue


def queue_of(name: str) -> str:
    """Return the queue of which a Redis list is a part."""
    return name.partition(_BEFORE_PRIORITY)[0]


def _queue(name: str) -> Queue:
    return Queue(name, Exchange(name, type="direct"), routing_key=name)


def _schedule(seconds: float) -> dict[str, object]:
    # Sweeps that pile up while no worker runs are worth no more than one.
    expiring = {"expires": max(seconds, 10.0), "queue": LIVE}
    return {"sweep": {"task": "sweep", "schedule": seconds, "options": expiring}}


def _impatient() -> dict[str, object]:
    """Return a producer's options: a save must not wait for a queue that is down or hangs."""
    return {"socket_connect_timeout": 0.1, "socket_timeout": 0.1, "max_retries": 0}


def _patient(settings: QueueSettings) -> dict[str, object]:
    """Return a worker's options: notice a dead connection, redeliver what a dead worker held."""
    return {
        "visibility_timeout": settings.visibility_timeout,
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "unacked_restore_interval": min(10.0, settings.visibility_timeout / 2),
        "unacked_restore_throttle": 1,
        # One worker can serve both queues and still take a save before a backfill.
        "queue_order_strategy": "priority",
    }


# Not the process's current app: a producer may have a Celery application of its own.
app = MediaCelery("media-atproto", include=["tasks.sync", "tasks.upkeep"], set_as_current=False)


@app.on_configure.connect
def configure(sender: MediaCelery, **_: object) -> None:
    """Make the configuration, the first time that any of it is needed.

    That may be as early as when something looks at a task, so a faulty environment raises
    nothing here: connecting does.
    """
    sender.add_defaults(_configuration)
    with suppress(SettingsError):
        settings = QueueSettings.load(os.environ)
        sender.add_defaults(lambda: _from_environment(settings))


@import_modules.connect
def check_media_types(**_: object) -> None:
    """Look at the types of other packages before the tasks load them, to say what is wrong."""
    from worker.errors import MediaTypeError
    from worker.media.registry import registry

    try:
        registry()
    except MediaTypeError as error:
        raise SystemExit(f"media-atproto: {error.message}") from None


@celeryd_init.connect
def become_worker(conf: Any = None, **_: object) -> None:
    """Check the whole environment before anything starts, and load the engine before a fork."""
    from worker import heartbeat

    try:
        settings = Settings.load(os.environ)
        queue = QueueSettings.load(os.environ)
        if queue.heartbeat_file is not None:
            heartbeat.begin(queue.heartbeat_file)
    except SettingsError as error:
        raise SystemExit(f"media-atproto: {error}") from None
    app.is_worker = True
    conf.update(broker_transport_options=_patient(queue), broker_connection_timeout=5)
    from worker import heap, sentry
    from worker.errors import MediaTypeError
    from worker.lexicon import LexiconFileError
    from worker.process import exposition
    from worker.services import preload

    app.steps["consumer"].add(heartbeat.Heartbeat)
    sentry.start(settings)
    exposition().prepare()
    try:
        preload()
    except (LexiconFileError, MediaTypeError) as error:
        raise SystemExit(f"media-atproto: {error}") from None
    heap.give_back_memory()


@celeryd_after_setup.connect
def doubt(**_: object) -> None:
    """Say so when a message may be delivered again while its task is still at work.

    That harms nothing but costs calls: the second run finds the document taken.
    """
    patience = QueueSettings.load(os.environ).visibility_timeout
    if patience <= LONGEST_IN_HAND:
        log.warning(
            "VISIBILITY_TIMEOUT_SECONDS is %g: messages come again while they are worked on; "
            "a batch may take %d seconds after a wait of %d, so set more than %d",
            patience,
            BATCH_HARD_LIMIT,
            LONGEST_COUNTDOWN,
            LONGEST_IN_HAND,
        )


@import_modules.connect
def refuse_open_flower(sender: object = None, **_: object) -> None:
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
def dress_logs(logger: logging.Logger, loglevel: int | None = None, **_: object) -> None:
    """Have all lines look as LOG_FORMAT says, and nothing secret or superfluous among them."""
    from worker import logs

    try:
        settings = LogSettings.load(os.environ)
    except SettingsError as error:
        raise SystemExit(f"media-atproto: {error}") from None
    logs.dress(logger, logs.LogFormat(settings.format))
    logs.quieten(loglevel or logging.INFO)


@worker_ready.connect
def tell_figures(**_: object) -> None:
    """Begin to answer whoever collects metrics."""
    from worker.process import exposition

    exposition().start()


@worker_process_init.connect
def warm_up(**_: object) -> None:
    """Make the services of a child process, so that its first item does not wait for them."""
    from worker.errors import MediaError
    from worker.process import services

    try:
        services().ensure_indexes()
    except MediaError as error:
        log.warning("indexes not checked: %s", error.message)
    _forget_what_stays()


def _forget_what_stays() -> None:
    """Have the garbage collector look only at what is made from now on.

    A task that fails leaves a third of a megabyte in cycles: Celery's copies of tracebacks. Left
    to itself, the collector waits until there is a quarter more than all that is loaded.
    Source: https://devguide.python.org/internals/garbage-collector/#collecting-the-oldest-generation
    """
    gc.freeze()
    gc.collect()
