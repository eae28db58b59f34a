"""Build every client and every part of the engine, once per process.

Services are built in the process that uses them, never before a fork, because sockets and locks
do not survive one.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from worker.core.settings import Settings
from worker.database import indexes
from worker.media.lexicons import type_lexicons
from worker.services.media import Media, build_media
from worker.services.pds import Pds, build_pds
from worker.services.storage import Storage, build_storage
from worker.services.sync import Sync, build_sync
from worker.services.timeouts import Timeouts
from worker.sync.account_changes import mark_moved
from worker.sync.batch.throttle import BulkThrottle
from worker.telemetry.alerts import NULL_ALERTS, Alerts
from worker.telemetry.metrics import NULL_METRICS, Metrics

if TYPE_CHECKING:
    from worker.telemetry.exporter import MetricsExporter


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a task or a command may need."""

    settings: Settings
    storage: Storage
    pds: Pds
    media: Media
    sync: Sync
    metrics: Metrics
    resources: ExitStack

    def ensure_indexes(self) -> None:
        """Create missing indexes; raises PermanentError for refused ones."""
        indexes.ensure(self.storage.database)

    def close(self) -> None:
        self.resources.close()


@cache
def services(*, is_worker: bool) -> Services:
    """Return the services of this process, built on first use; raises SettingsError."""
    settings = Settings.load(os.environ)
    if not is_worker:
        return build(settings)  # other programs configure logs and Sentry themselves
    from worker.telemetry.sentry import SentryAlerts

    return build(settings, SentryAlerts(), metrics_exporter().metrics())


@cache
def metrics_exporter() -> MetricsExporter:
    """Return a worker's exporter, created before its children; raises SettingsError."""
    from worker.telemetry.exporter import MetricsExporter

    return MetricsExporter(Settings.load(os.environ).metrics)


def preload() -> None:
    """Load modules and lexicons before a fork, so that all children share the memory.

    Raises LexiconFileError and MediaTypeError, before any child is started.
    """
    import lexrpc.base  # noqa: F401
    from PIL import Image

    Image.init()
    type_lexicons()


def build(
    settings: Settings,
    alerts: Alerts = NULL_ALERTS,
    metrics: Metrics | None = None,
    timeouts: Timeouts | None = None,
) -> Services:
    """Build all services; connections are opened on first use.

    With `metrics`, each run of an item is logged and counted. Raises SettingsError for
    inconsistent settings, and LexiconFileError and MediaTypeError for a media type of another
    package that cannot be loaded.
    """
    resources, timeouts = ExitStack(), timeouts or Timeouts()
    storage = build_storage(settings, timeouts, resources)
    counters = metrics or NULL_METRICS
    throttle = BulkThrottle(storage.redis)
    pds = build_pds(
        settings,
        storage.redis,
        timeouts,
        resources,
        throttle=throttle,
        alerts=alerts,
        metrics=counters,
        on_move=partial(mark_moved, storage.account_changes, storage.accounts),
    )
    media = build_media(settings, storage.database, resources)
    return Services(
        settings=settings,
        storage=storage,
        pds=pds,
        media=media,
        sync=build_sync(
            settings, storage, pds, media, throttle=throttle, alerts=alerts, metrics=metrics
        ),
        metrics=counters,
        resources=resources,
    )
