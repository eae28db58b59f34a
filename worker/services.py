"""Build every client and every part of the engine, once per process.

Services are built in the process that uses them, never before a fork, because sockets and locks
do not survive one.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from pymongo.database import Database
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.core.documents import Account
from worker.core.net.transports import ResponseLimits
from worker.core.secrets import Vault
from worker.core.settings import MediaSettings, Settings
from worker.core.settings.reader import SettingsError
from worker.database import indexes
from worker.database.accounts import Accounts
from worker.database.backlog import Backlog
from worker.database.batch_store import BatchStore
from worker.database.mongo import RawDocument, connect
from worker.database.removals import Removals
from worker.database.state_updates import StateUpdates
from worker.database.store import DocumentStore
from worker.database.thumbnail_cache import ThumbnailCache
from worker.files.opening import open_sources
from worker.files.store import SourceStore
from worker.files.thumbnail import ThumbnailSettings
from worker.media import MEDIA_TYPES, SiteUrls
from worker.media.lexicons import type_lexicons
from worker.media.validation import Lexicons
from worker.pds.client import PdsClient, open_http_client
from worker.pds.identity import (
    DidResolver,
    PdsResolver,
    StaticPdsResolver,
    is_http_url,
    is_public_https_url,
)
from worker.pds.locks import RepoLocks
from worker.pds.parking import Parking
from worker.pds.rate_limiter import RateLimiter, Workload
from worker.pds.repo import Repo
from worker.pds.routing import PdsHostFactory, PdsHosts
from worker.queue.depth import InFlight
from worker.sync.attachments import AttachmentBuilder
from worker.sync.batch.adoption import Adoption
from worker.sync.batch.engine import BatchEngine
from worker.sync.batch.progress import ProgressTracker
from worker.sync.batch.records import BatchFiles
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.batch.writer import Writer
from worker.sync.blobs import BlobBuilder
from worker.sync.engine import Engine
from worker.sync.fairness import QueueBalancer
from worker.sync.item_log import NULL_ITEM_LOG, ItemLog, StructuredItemLog
from worker.sync.publisher import Publisher
from worker.sync.removal import Remover
from worker.sync.sweep import Sweep
from worker.telemetry.alerts import NULL_ALERTS, Alerts
from worker.telemetry.metrics import NULL_METRICS, Metrics

if TYPE_CHECKING:
    from worker.telemetry.exporter import MetricsExporter


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts of calls, in seconds.

    `once` disables retries of Redis calls, for pages that a user waits for. `bounds` limits the
    responses of a PDS; None allows a whole repo.
    """

    pds: float = 15
    redis: float = 5
    once: bool = False
    bounds: ResponseLimits | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a task or a command may need.

    `engine` handles saves; `bulk_engine` handles all other work, and leaves a share of each rate
    limit to saves.
    """

    settings: Settings
    database: Database[RawDocument]
    redis: Redis
    store: DocumentStore
    accounts: Accounts
    vault: Vault
    sources: SourceStore
    thumbnails: ThumbnailCache
    lexicons: Lexicons
    pds_hosts: PdsHosts
    rate_limiter: RateLimiter
    parking: Parking
    publisher: Publisher
    engine: Engine
    bulk_engine: Engine
    batches: BatchEngine
    locks: RepoLocks
    throttle: BulkThrottle
    backlog: Backlog
    sweep: Sweep
    balancer: QueueBalancer
    in_flight: InFlight
    metrics: Metrics
    resources: ExitStack

    def repo(self, account: Account) -> Repo:
        """Return the repo of an account, for all work except saves."""
        return Repo(self.pds_hosts, account)

    def pds_of(self, did: str) -> PdsClient:
        """Return the PDS of an account."""
        return self.pds_hosts.for_did(did).pds

    def ensure_indexes(self) -> None:
        """Create missing indexes; raises PermanentError for refused ones."""
        indexes.ensure(self.database)

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
    resources = ExitStack()
    database = connect(settings)
    resources.callback(database.client.close)
    store = DocumentStore(database, settings.guest_subject)
    accounts = Accounts(database)
    vault = Vault(settings.secret_keys)
    timeouts = timeouts or Timeouts()
    redis = resources.enter_context(_connect_redis(settings, timeouts))
    rate_limiter = RateLimiter(redis, settings.pds.rates, reserve=settings.pds.reserve)
    host_factory = PdsHostFactory(
        resolver=_build_resolver(settings, redis, resources),
        default_pds=settings.pds.url,
        own=resources.enter_context(
            closing(open_http_client(timeouts.pds, limits=timeouts.bounds))
        ),
        others=resources.enter_context(
            closing(
                open_http_client(
                    timeouts.pds, public_only=not settings.allow_http, limits=timeouts.bounds
                )
            )
        ),
        rate_limiter=rate_limiter,
        redis=redis,
        vault=vault,
        alerts=alerts,
        metrics=metrics or NULL_METRICS,
        parked=settings.retry.parked,
        bypass=settings.pds.bypass,
    )
    pds_hosts, live_hosts = host_factory.hosts(Workload.BULK), host_factory.hosts(Workload.LIVE)
    lexicons = type_lexicons()
    sources = resources.enter_context(closing(open_sources(settings)))
    thumbnails = ThumbnailCache(database["atproto_thumbnails"])
    publisher = _build_publisher(settings, sources, thumbnails, lexicons)
    removals = Removals(database)

    def engine_of(workload: Workload, hosts: PdsHosts) -> Engine:
        open_repo = partial(Repo, hosts)
        item_log: ItemLog = StructuredItemLog(metrics, workload.value) if metrics else NULL_ITEM_LOG
        return Engine(
            store=store,
            accounts=accounts,
            publisher=publisher,
            remover=Remover(accounts, removals, open_repo, settings.retry),
            open_repo=open_repo,
            retry=settings.retry,
            alerts=alerts,
            item_log=item_log,
        )

    engine, bulk_engine = engine_of(Workload.LIVE, live_hosts), engine_of(Workload.BULK, pds_hosts)
    locks = RepoLocks(redis, life=settings.retry.repo_lock)
    throttle, progress = BulkThrottle(redis), ProgressTracker(redis)
    state_updates = StateUpdates(store)
    batches = BatchEngine(
        publisher=publisher,
        store=store,
        retry=settings.retry,
        alerts=alerts,
        item_log=bulk_engine.item_log,
        engine=bulk_engine,
        accounts=accounts,
        batch_store=BatchStore(store),
        adoption=Adoption(redis, locks, store, state_updates),
        writer=Writer(locks, throttle),
        throttle=throttle,
        batch_files=BatchFiles(publisher.attachments, thumbnails),
        progress=progress,
        open_repo=partial(Repo, pds_hosts),
    )
    backlog = Backlog(database, store)
    return Services(
        settings=settings,
        database=database,
        redis=redis,
        store=store,
        accounts=accounts,
        vault=vault,
        sources=sources,
        thumbnails=thumbnails,
        lexicons=lexicons,
        pds_hosts=pds_hosts,
        rate_limiter=rate_limiter,
        parking=Parking(redis, settings.retry.parked),
        publisher=publisher,
        engine=engine,
        bulk_engine=bulk_engine,
        batches=batches,
        locks=locks,
        throttle=throttle,
        backlog=backlog,
        sweep=Sweep(backlog, accounts, removals, settings.sweep),
        balancer=QueueBalancer(redis, store),
        in_flight=InFlight(redis),
        metrics=metrics or NULL_METRICS,
        resources=resources,
    )


def _build_resolver(settings: Settings, redis: Redis, resources: ExitStack) -> PdsResolver:
    default_pds, plc = settings.pds.url, settings.pds.directory
    if plc is None:
        return StaticPdsResolver(default_pds)
    is_allowed = is_http_url if settings.allow_http else is_public_https_url
    return resources.enter_context(
        closing(DidResolver(redis, plc, default_pds, is_allowed=is_allowed))
    )


def _build_publisher(
    settings: Settings, sources: SourceStore, thumbnails: ThumbnailCache, lexicons: Lexicons
) -> Publisher:
    largest = settings.media.max_source_bytes
    blob_builder = BlobBuilder(sources, thumbnails, ThumbnailSettings(), max_source_bytes=largest)
    site = _site_urls(settings.media)
    return Publisher(AttachmentBuilder(blob_builder, lexicons), lexicons, site, settings.retry)


def _connect_redis(settings: Settings, timeouts: Timeouts) -> Redis:
    once = {"retry": Retry(NoBackoff(), 0)} if timeouts.once else {}
    try:
        return Redis.from_url(
            settings.redis_url.reveal(),
            socket_timeout=timeouts.redis,
            socket_connect_timeout=min(timeouts.redis, 3),
            health_check_interval=10,
            **once,
        )
    except ValueError:
        raise SettingsError(["REDIS_URL is not a valid Redis URL"]) from None


def _site_urls(media: MediaSettings) -> SiteUrls:
    known = {f"{kind.name}_{name}".upper() for kind in MEDIA_TYPES.values() for name in kind.urls}
    unknown = sorted(media.url_templates.keys() - known)
    if unknown:
        problems = [f"URL_TEMPLATE_{name} matches no URL field" for name in unknown]
        raise SettingsError(problems)
    return SiteUrls(media.site_url, media.user_bucket, media.guest_bucket, media.url_templates)
