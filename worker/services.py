"""The composition root: every client and every part of the engine, made once and handed down.

Made in the process that uses it, never before a fork: sockets and locks do not survive one.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache, partial

from pymongo.database import Database
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.core.documents import Account
from worker.core.net.transports import Bounds
from worker.core.secrets import Vault
from worker.core.settings import MediaSettings, Settings
from worker.core.settings.reader import SettingsError
from worker.database import indexes
from worker.database.accounts import Accounts
from worker.database.backlog import Backlog
from worker.database.batch_store import Claims
from worker.database.corrections import Corrections
from worker.database.mongo import RawDocument, connect
from worker.database.removals import Removals
from worker.database.store import Store
from worker.database.thumbnails import ThumbnailCache
from worker.files.opening import open_sources
from worker.files.store import SourceStore
from worker.files.thumbnail import ThumbnailSettings
from worker.media import MEDIA_TYPES, Site
from worker.media.lexicons import type_lexicons
from worker.media.validation import Lexicons
from worker.pds.account_cache import AccountKeys
from worker.pds.client import Pds, open_request
from worker.pds.identity import DidDocuments, Directory, OnePds, is_public, is_web
from worker.pds.locks import RepoLocks
from worker.pds.parking import Parking
from worker.pds.rate_limiter import Budget, Lane
from worker.pds.repo import Repo
from worker.pds.routing import Homes, Lanes
from worker.queue.depth import Hands
from worker.sync.attachments import PartMaker
from worker.sync.batch.adoption import Adoption
from worker.sync.batch.engine import Batches
from worker.sync.batch.progress import Progress
from worker.sync.batch.records import Workshop
from worker.sync.batch.throttle import Pace
from worker.sync.batch.writer import Writer
from worker.sync.blobs import BlobMaker
from worker.sync.engine import Engine
from worker.sync.fairness import Sifter
from worker.sync.item_log import UNKEPT, Journal, LoggedJournal
from worker.sync.publisher import Publisher
from worker.sync.removal import Remover
from worker.sync.sweep import Sweep
from worker.telemetry.alerts import SILENT, Reporter
from worker.telemetry.exporter import Exposition
from worker.telemetry.metrics import NOBODY, Recorder
from worker.telemetry.sentry import SentryReporter


@dataclass(frozen=True, slots=True)
class Patience:
    """How long calls may take before they are given up, in seconds.

    With `once` Redis is not asked again either: for a person who waits for an answer. `bounds`
    are those of a PDS's answers; without, a whole repo is read.
    """

    pds: float = 15
    redis: float = 5
    once: bool = False
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a task or a command may need.

    `engine` serves saves, `background` all other work, which leaves saves a share of the budgets.
    """

    settings: Settings
    database: Database[RawDocument]
    store: Store
    accounts: Accounts
    vault: Vault
    sources: SourceStore
    thumbnails: ThumbnailCache
    lexicons: Lexicons
    homes: Homes
    budget: Budget
    account_keys: AccountKeys
    parking: Parking
    publisher: Publisher
    engine: Engine
    background: Engine
    batches: Batches
    corrections: Corrections
    locks: RepoLocks
    pace: Pace
    progress: Progress
    backlog: Backlog
    sweep: Sweep
    sifter: Sifter
    hands: Hands
    recorder: Recorder
    undo: ExitStack

    def repo(self, account: Account) -> Repo:
        """Return the repo of an account, for work that is no save."""
        return Repo(self.homes, account)

    def pds_of(self, did: str) -> Pds:
        """Return the PDS where an account lives."""
        return self.homes.of(did).pds

    def ensure_indexes(self) -> None:
        """Create the indexes that are not there yet; raises IndexRefusedError."""
        indexes.ensure(self.database)

    def close(self) -> None:
        """Close every connection."""
        self.undo.close()


@cache
def services(*, is_worker: bool) -> Services:
    """Return the services of this process, made at first use; raises SettingsError."""
    settings = Settings.load(os.environ)
    if not is_worker:
        return build(settings)  # of the platform's own, as are its log and its Sentry
    return build(settings, SentryReporter(), exposition().recorder())


@cache
def exposition() -> Exposition:
    """Return how a worker tells its figures: made before its children are; raises SettingsError."""
    return Exposition(Settings.load(os.environ).metrics)


def preload() -> None:
    """Load what is otherwise loaded at its first use: before a fork, all children share it.

    Raises LexiconFileError and MediaTypeError: better now than in every child.
    """
    import lexrpc.base  # noqa: F401
    from PIL import Image

    Image.init()
    type_lexicons()


def build(
    settings: Settings,
    reporter: Reporter = SILENT,
    recorder: Recorder | None = None,
    patience: Patience | None = None,
) -> Services:
    """Make all services; nothing is connected before its first use.

    With a recorder a line for each item that has ended is logged. Raises SettingsError for
    settings that only make sense together, and LexiconFileError and MediaTypeError for a type of
    another package that cannot be used.
    """
    undo = ExitStack()
    database = connect(settings)
    undo.callback(database.client.close)
    store = Store(database, settings.guest_subject)
    accounts = Accounts(database)
    vault = Vault(settings.secret_keys)
    patience = patience or Patience()
    redis = undo.enter_context(_redis(settings, patience))
    budget = Budget(redis, settings.pds.rates, reserve=settings.pds.reserve)
    lanes = Lanes(
        directory=_directory(settings, redis, undo),
        usual=settings.pds.url,
        own=undo.enter_context(closing(open_request(patience.pds, bounds=patience.bounds))),
        others=undo.enter_context(
            closing(
                open_request(patience.pds, public=not settings.allow_http, bounds=patience.bounds)
            )
        ),
        budget=budget,
        redis=redis,
        vault=vault,
        reporter=reporter,
        recorder=recorder or NOBODY,
        parked=settings.retry.parked,
        bypass=settings.pds.bypass,
    )
    homes, saved_homes = lanes.homes(Lane.BULK), lanes.homes(Lane.LIVE)
    lexicons = type_lexicons()
    sources = undo.enter_context(closing(open_sources(settings)))
    thumbnails = ThumbnailCache(database["atproto_thumbnails"])
    publisher = _publisher(settings, sources, thumbnails, lexicons)
    removals = Removals(database)

    def engine_of(lane: Lane, lane_homes: Homes) -> Engine:
        open_repo = partial(Repo, lane_homes)
        journal: Journal = LoggedJournal(recorder, lane.value) if recorder else UNKEPT
        return Engine(
            store=store,
            accounts=accounts,
            publisher=publisher,
            remover=Remover(accounts, removals, open_repo, settings.retry),
            open_repo=open_repo,
            retry=settings.retry,
            reporter=reporter,
            journal=journal,
        )

    engine, background = engine_of(Lane.LIVE, saved_homes), engine_of(Lane.BULK, homes)
    locks = RepoLocks(redis, life=settings.retry.repo_lock)
    pace, progress = Pace(redis), Progress(redis)
    corrections = Corrections(store)
    batches = Batches(
        engine=background,
        accounts=accounts,
        claims=Claims(store),
        adoption=Adoption(redis, locks, store, corrections),
        writer=Writer(locks, pace),
        pace=pace,
        workshop=Workshop(publisher.parts, thumbnails),
        progress=progress,
        open_repo=partial(Repo, homes),
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
        homes=homes,
        budget=budget,
        account_keys=AccountKeys(redis),
        parking=Parking(redis, settings.retry.parked),
        publisher=publisher,
        engine=engine,
        background=background,
        batches=batches,
        corrections=corrections,
        locks=locks,
        pace=pace,
        progress=progress,
        backlog=backlog,
        sweep=Sweep(backlog, accounts, removals, settings.sweep),
        sifter=Sifter(redis, store),
        hands=Hands(redis),
        recorder=recorder or NOBODY,
        undo=undo,
    )


def _directory(settings: Settings, redis: Redis, undo: ExitStack) -> Directory:
    usual, plc = settings.pds.url, settings.pds.directory
    if plc is None:
        return OnePds(usual)
    is_allowed = is_web if settings.allow_http else is_public
    return undo.enter_context(closing(DidDocuments(redis, plc, usual, is_allowed=is_allowed)))


def _publisher(
    settings: Settings, sources: SourceStore, thumbnails: ThumbnailCache, lexicons: Lexicons
) -> Publisher:
    largest = settings.media.max_source_bytes
    maker = BlobMaker(sources, thumbnails, ThumbnailSettings(), max_source_bytes=largest)
    site = _site(settings.media)
    return Publisher(PartMaker(maker, lexicons), lexicons, site, settings.retry)


def _redis(settings: Settings, patience: Patience) -> Redis:
    once = {"retry": Retry(NoBackoff(), 0)} if patience.once else {}
    try:
        return Redis.from_url(
            settings.redis_url.reveal(),
            socket_timeout=patience.redis,
            socket_connect_timeout=min(patience.redis, 3),
            health_check_interval=10,
            **once,
        )
    except ValueError:
        raise SettingsError(["REDIS_URL is not understood by the client"]) from None


def _site(media: MediaSettings) -> Site:
    known = {f"{kind.name}_{name}".upper() for kind in MEDIA_TYPES.values() for name in kind.urls}
    unknown = sorted(media.url_templates.keys() - known)
    if unknown:
        problems = [f"URL_TEMPLATE_{name} is the template of no field" for name in unknown]
        raise SettingsError(problems)
    return Site(media.site_url, media.user_bucket, media.guest_bucket, media.url_templates)
