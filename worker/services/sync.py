"""Build the engines, and the parts that schedule their work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from redis import Redis

from worker.core.documents import Account
from worker.core.settings import Settings
from worker.database.batch_store import BatchStore
from worker.database.state_updates import StateUpdates
from worker.database.thumbnail_cache import ThumbnailCache
from worker.pds.locks import RepoLocks
from worker.pds.rate_limiter import Workload
from worker.pds.repo import Repo
from worker.pds.routing import PdsHosts
from worker.queue.depth import RetryLimit
from worker.services.media import Media
from worker.services.pds import Pds
from worker.services.storage import Storage
from worker.sync.account_changes import ChangedAccounts
from worker.sync.adoption import Adoption
from worker.sync.attachments import AttachmentBuilder
from worker.sync.batch.engine import BatchEngine
from worker.sync.batch.progress import ProgressTracker
from worker.sync.batch.records import BatchFiles
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.batch.writer import Writer
from worker.sync.blobs import BlobBuilder
from worker.sync.engine import Engine
from worker.sync.failed_removals import FailedRemovals
from worker.sync.fairness import QueueBalancer
from worker.sync.item_log import NULL_ITEM_LOG, StructuredItemLog
from worker.sync.publisher import Publisher
from worker.sync.removal import Remover
from worker.sync.sweep import Sweep
from worker.telemetry.alerts import Alerts
from worker.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Sync:
    """The engines, and the parts that schedule their work.

    `engine` handles saves; `bulk_engine` and `batches` handle all other work.
    """

    engine: Engine
    bulk_engine: Engine
    batches: BatchEngine
    sweep: Sweep
    balancer: QueueBalancer
    retry_limit: RetryLimit


def build_sync(
    settings: Settings,
    storage: Storage,
    pds: Pds,
    media: Media,
    *,
    throttle: BulkThrottle,
    alerts: Alerts,
    metrics: Metrics | None,
) -> Sync:
    """Build the engines, which share a publisher; without `metrics`, no item is logged."""
    publisher = _build_publisher(settings, media, alerts)
    build_engine = partial(
        _build_engine,
        settings,
        storage,
        publisher,
        thumbnails=media.thumbnails,
        open_bulk_repo=partial(Repo, pds.hosts),
        adoption=_build_adoption(settings, storage, pds, media),
        alerts=alerts,
        metrics=metrics,
    )
    bulk_engine = build_engine(pds.hosts, Workload.BULK)
    return Sync(
        engine=build_engine(pds.live_hosts, Workload.LIVE),
        bulk_engine=bulk_engine,
        batches=_build_batches(bulk_engine, storage.redis, pds.locks, media.thumbnails, throttle),
        sweep=_build_sweep(settings, storage, pds, media, alerts),
        balancer=QueueBalancer(storage.redis, storage.store),
        retry_limit=RetryLimit(),
    )


def _build_sweep(
    settings: Settings, storage: Storage, pds: Pds, media: Media, alerts: Alerts
) -> Sweep:
    return Sweep(
        storage.backlog,
        storage.accounts,
        storage.removals,
        FailedRemovals(storage.store, storage.removals),
        ChangedAccounts(storage.account_changes, media.site),
        pds.resolver,
        settings.sweep,
        alerts,
    )


def _build_adoption(settings: Settings, storage: Storage, pds: Pds, media: Media) -> Adoption:
    return Adoption(
        storage.redis,
        pds.vault,
        pds.locks,
        storage.store,
        StateUpdates(storage.store),
        storage.adopted_repos,
        media.lexicons,
        settings.retry.max_lost,
    )


def _build_publisher(settings: Settings, media: Media, alerts: Alerts) -> Publisher:
    blob_builder = BlobBuilder(
        media.sources,
        media.thumbnails,
        media.thumbnail_settings,
        max_source_bytes=settings.media.max_source_bytes,
    )
    attachments = AttachmentBuilder(blob_builder, media.lexicons, alerts)
    return Publisher(attachments, media.lexicons, media.site, settings.retry)


def _build_engine(
    settings: Settings,
    storage: Storage,
    publisher: Publisher,
    hosts: PdsHosts,
    workload: Workload,
    *,
    thumbnails: ThumbnailCache,
    open_bulk_repo: Callable[[Account], Repo],
    adoption: Adoption,
    alerts: Alerts,
    metrics: Metrics | None,
) -> Engine:
    open_repo = partial(Repo, hosts)
    return Engine(
        store=storage.store,
        accounts=storage.accounts,
        publisher=publisher,
        remover=Remover(
            storage.store,
            storage.accounts,
            storage.adopted_repos,
            storage.removals,
            thumbnails,
            open_repo=open_repo,
            open_bulk_repo=open_bulk_repo,
            retry=settings.retry,
        ),
        adoption=adoption,
        open_repo=open_repo,
        thumbnails=thumbnails,
        retry=settings.retry,
        alerts=alerts,
        item_log=StructuredItemLog(metrics, workload.value) if metrics else NULL_ITEM_LOG,
    )


def _build_batches(
    engine: Engine,
    redis: Redis,
    locks: RepoLocks,
    thumbnails: ThumbnailCache,
    throttle: BulkThrottle,
) -> BatchEngine:
    store, publisher = engine.store, engine.publisher
    return BatchEngine(
        publisher=publisher,
        store=store,
        retry=engine.retry,
        alerts=engine.alerts,
        item_log=engine.item_log,
        engine=engine,
        accounts=engine.accounts,
        batch_store=BatchStore(store),
        adoption=engine.adoption,
        writer=Writer(locks, throttle),
        throttle=throttle,
        batch_files=BatchFiles(publisher.attachments, thumbnails),
        progress=ProgressTracker(redis),
        open_repo=engine.open_repo,
    )
