"""Build the PDS hosts and their limits, locks and secrets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

from redis import Redis

from worker.core.documents import Account
from worker.core.secrets import Vault
from worker.core.settings import Settings
from worker.pds.call_limits import FOREIGN, TRUSTED, CallLimits
from worker.pds.client import PdsClient, open_http_client
from worker.pds.directory_pause import DirectoryPauses
from worker.pds.host_slots import HostSlots
from worker.pds.identity import DIRECTORY_SECONDS, DidResolver, PdsResolver, StaticPdsResolver
from worker.pds.locks import RepoLocks
from worker.pds.parking import Parking
from worker.pds.pds_cache import PdsCache
from worker.pds.rate_limiter import RateLimiter, Workload
from worker.pds.repo import Repo
from worker.pds.routing import PdsCaller, PdsHostFactory, PdsHosts
from worker.services.timeouts import Timeouts
from worker.sync.batch.throttle import BulkThrottle
from worker.telemetry.alerts import Alerts
from worker.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Pds:
    """The PDS hosts, and their limits, locks and secrets.

    `live_hosts` is for saves. `hosts` is for all other work, and leaves a share of each rate limit
    to saves.
    """

    hosts: PdsHosts
    live_hosts: PdsHosts
    resolver: PdsResolver
    rate_limiter: RateLimiter
    parking: Parking
    vault: Vault
    locks: RepoLocks

    def repo(self, account: Account) -> Repo:
        """Return the repo of an account, for all work except saves."""
        return Repo(self.hosts, account)

    def client_of(self, did: str) -> PdsClient:
        """Return the client of an account's PDS, for all work except saves."""
        return self.hosts.for_did(did).pds


def build_pds(
    settings: Settings,
    redis: Redis,
    timeouts: Timeouts,
    resources: ExitStack,
    *,
    throttle: BulkThrottle,
    alerts: Alerts,
    metrics: Metrics,
    on_move: Callable[[str, float], None],
) -> Pds:
    """Build the PDS hosts for both workloads; raises SettingsError."""
    vault = Vault(settings.secret_keys)
    rate_limiter = RateLimiter(
        redis, settings.pds.rates, reserve=settings.pds.reserve, egress=settings.pds.egress
    )
    slots = HostSlots(redis, settings.pds.foreign_calls)
    resolver = _build_resolver(
        settings, redis, vault, timeouts, slots=slots, resources=resources, on_move=on_move
    )
    factory = PdsHostFactory(
        resolver=resolver,
        trusted=settings.pds.trusted,
        own=_open_caller(timeouts, resources, foreign=False),
        others=_open_caller(timeouts, resources, foreign=True),
        rate_limiter=rate_limiter,
        slots=slots,
        redis=redis,
        vault=vault,
        alerts=alerts,
        metrics=metrics,
        parked=settings.retry.parked,
        bypass=settings.pds.bypass,
        note_live_traffic=throttle.note_live_traffic,
    )
    return Pds(
        hosts=factory.hosts(Workload.BULK),
        live_hosts=factory.hosts(Workload.LIVE),
        resolver=resolver,
        rate_limiter=rate_limiter,
        parking=Parking(redis, vault, settings.retry.parked),
        vault=vault,
        locks=RepoLocks(redis, life=settings.retry.repo_lock),
    )


def _build_resolver(
    settings: Settings,
    redis: Redis,
    vault: Vault,
    timeouts: Timeouts,
    *,
    slots: HostSlots,
    resources: ExitStack,
    on_move: Callable[[str, float], None],
) -> PdsResolver:
    plc = settings.pds.directory
    if plc is None:
        return StaticPdsResolver(settings.pds.url)
    resolver = DidResolver(
        PdsCache(redis, vault),
        plc,
        settings.pds.trusted,
        slots=slots,
        pauses=DirectoryPauses(redis),
        on_move=on_move,
        timeout=min(DIRECTORY_SECONDS, timeouts.first or DIRECTORY_SECONDS),
    )
    return resources.enter_context(closing(resolver))


def _open_caller(timeouts: Timeouts, resources: ExitStack, *, foreign: bool) -> PdsCaller:
    limits = FOREIGN if foreign else TRUSTED
    if timeouts.limits:
        limits = CallLimits.equal(timeouts.limits)
    # A foreign host may be slow, and is not part of our installation.
    first = None if foreign else timeouts.first
    request = open_http_client(timeouts.pds, foreign=foreign, limits=limits.ordinary, first=first)
    return PdsCaller(resources.enter_context(closing(request)), limits)
