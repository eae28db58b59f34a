"""The composition root: every client and every part of the engine, made once and handed down.

Made in the process that uses it, never before a fork: sockets and locks do not survive one.
"""

from __future__ import annotations

from dataclasses import dataclass

from pymongo.database import Database
from pymongo.errors import PyMongoError
from redis import Redis

from worker import indexes
from worker.accounts import Accounts
from worker.backlog import Backlog
from worker.blobs import BlobMaker
from worker.bulk.adoption import Adoption
from worker.bulk.backfill import Backfiller
from worker.bulk.batch import Batches
from worker.bulk.claims import Claims
from worker.bulk.corrections import Corrections
from worker.bulk.pace import Pace
from worker.bulk.progress import Progress
from worker.bulk.restore import Recall
from worker.bulk.selection import Selection
from worker.bulk.workshop import Workshop
from worker.bulk.writer import Writer
from worker.documents import Account
from worker.environment import SettingsError
from worker.lexicon import Lexicons, load_lexicons
from worker.locks import RepoLocks
from worker.media import MEDIA_TYPES, Site
from worker.mongo import RawDocument, connect
from worker.parts import PartMaker
from worker.pds import Pds
from worker.publish import Publisher
from worker.removal import Removals, Remover
from worker.repo import Repo
from worker.secrets import Vault
from worker.sessions import Sessions
from worker.settings import MediaSettings, Settings
from worker.source import SourceStore, SourceTemplate, open_store
from worker.source.addresses import parse_networks
from worker.store import Store
from worker.sweep import Sweep
from worker.sync import Engine
from worker.thumbnail import ThumbnailSettings
from worker.thumbnail_cache import ThumbnailCache


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a task or a command may need."""

    settings: Settings
    database: Database[RawDocument]
    store: Store
    accounts: Accounts
    vault: Vault
    sources: SourceStore
    thumbnails: ThumbnailCache
    lexicons: Lexicons
    pds: Pds
    sessions: Sessions
    publisher: Publisher
    engine: Engine
    batches: Batches
    corrections: Corrections
    locks: RepoLocks
    pace: Pace
    progress: Progress
    backfiller: Backfiller
    recall: Recall
    backlog: Backlog
    sweep: Sweep

    def repo(self, account: Account) -> Repo:
        """Return the repo of an account."""
        return Repo(self.pds, self.sessions, account)

    def ensure_indexes(self) -> None:
        """Create the indexes that are not there yet; raises IndexRefusedError."""
        indexes.ensure(self.database)

    def close(self) -> None:
        """Close every connection."""
        self.pds.close()
        self.sources.close()
        self.sessions.close()
        self.database.client.close()


def preload() -> None:
    """Load what is otherwise loaded at its first use: before a fork, all children share it."""
    import lexrpc.base  # noqa: F401
    from PIL import Image

    Image.init()


def build(settings: Settings) -> Services:
    """Make all services; nothing is connected before its first use.

    Raises SettingsError for settings that only make sense together.
    """
    database = _database(settings)
    store = Store(database, settings.guest_subject)
    accounts = Accounts(database)
    vault = Vault(settings.secret_keys)
    pds = Pds(settings.pds_url)
    redis = _redis(settings)
    sessions = Sessions(redis, vault, pds, parked=settings.retry.parked)
    lexicons = load_lexicons()
    sources = _sources(settings)
    thumbnails = ThumbnailCache(database["atproto_thumbnails"])
    publisher = _publisher(settings, sources, thumbnails, lexicons)
    removals = Removals(database, settings.retry)

    def open_repo(account: Account) -> Repo:
        return Repo(pds, sessions, account)

    remover = Remover(accounts, removals, open_repo)
    engine = Engine(store, accounts, publisher, remover, open_repo, settings.retry)
    locks, pace, progress = RepoLocks(redis), Pace(redis), Progress(redis)
    corrections, selection = Corrections(store), Selection(store)
    batches = Batches(
        engine=engine,
        accounts=accounts,
        claims=Claims(store),
        adoption=Adoption(redis, locks, store, corrections),
        writer=Writer(locks, pace),
        pace=pace,
        workshop=Workshop(publisher.parts, thumbnails),
        progress=progress,
        open_repo=open_repo,
    )
    backlog = Backlog(database, store)
    return Services(
        settings=settings,
        database=database,
        store=store,
        accounts=accounts,
        vault=vault,
        sources=sources,
        thumbnails=thumbnails,
        lexicons=lexicons,
        pds=pds,
        sessions=sessions,
        publisher=publisher,
        engine=engine,
        batches=batches,
        corrections=corrections,
        locks=locks,
        pace=pace,
        progress=progress,
        backfiller=Backfiller(selection, accounts, settings.guest_subject),
        recall=Recall(store, selection, corrections),
        backlog=backlog,
        sweep=Sweep(backlog, accounts, removals, settings.sweep),
    )


def _publisher(
    settings: Settings, sources: SourceStore, thumbnails: ThumbnailCache, lexicons: Lexicons
) -> Publisher:
    largest = settings.media.max_source_bytes
    maker = BlobMaker(sources, thumbnails, ThumbnailSettings(), max_source_bytes=largest)
    site = _site(settings.media)
    return Publisher(PartMaker(maker, lexicons), lexicons, site, settings.retry)


def _database(settings: Settings) -> Database[RawDocument]:
    try:
        return connect(settings.mongodb_url, settings.mongodb_name)
    except (PyMongoError, ValueError):
        # The driver's message quotes the URL, and the URL may hold a password.
        problem = "MONGODB_CONNECTION_STRING is not understood by the driver"
        raise SettingsError([problem]) from None


def _redis(settings: Settings) -> Redis:
    try:
        return Redis.from_url(
            settings.redis_url.reveal(),
            socket_timeout=5,
            socket_connect_timeout=3,
            health_check_interval=10,
        )
    except ValueError:
        raise SettingsError(["REDIS_URL is not understood by the client"]) from None


def _sources(settings: Settings) -> SourceStore:
    try:
        networks = parse_networks(settings.media.allowed_networks)
    except ValueError as error:
        raise SettingsError([f"MEDIA_STORE_ALLOWED_NETWORKS: {error}"]) from error
    return open_store(_template(settings), deadline=settings.media.deadline, networks=networks)


def _template(settings: Settings) -> SourceTemplate:
    media = settings.media
    try:
        return SourceTemplate.parse(
            media.store_url, frozenset(media.allowed_hosts), allow_http=settings.allow_http
        )
    except ValueError as error:
        raise SettingsError([f"MEDIA_STORE_URL: {error}"]) from error


def _site(media: MediaSettings) -> Site:
    known = {f"{kind.name}_{name}".upper() for kind in MEDIA_TYPES.values() for name in kind.urls}
    unknown = sorted(media.url_templates.keys() - known)
    if unknown:
        problems = [f"URL_TEMPLATE_{name} is the template of no field" for name in unknown]
        raise SettingsError(problems)
    return Site(media.site_url, media.user_bucket, media.guest_bucket, media.url_templates)
