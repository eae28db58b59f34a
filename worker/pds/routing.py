"""Find the PDS of an account, and open its client for one workload.

Live and bulk calls share connections and rate limits. Only live calls may use the reserve.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from redis import Redis

from worker.core.documents import Account
from worker.core.errors import AccountError
from worker.core.secrets import Secret, Vault
from worker.pds.call_limits import CallLimits
from worker.pds.client import HttpClient, PdsClient
from worker.pds.host_slots import HostSlots
from worker.pds.identity import UNRESOLVED, PdsResolver
from worker.pds.rate_limiter import RateLimiter, Workload
from worker.pds.sessions import Sessions
from worker.telemetry.alerts import Alerts
from worker.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class PdsHost:
    """The client of a PDS, and the sessions of its accounts."""

    pds: PdsClient
    sessions: Sessions


class PdsHosts:
    """Finds the PDS hosts of accounts. `open_host` creates the host for a URL."""

    def __init__(self, resolver: PdsResolver, open_host: Callable[[str], PdsHost]) -> None:
        self._resolver = resolver
        self._open_host = open_host

    def for_did(self, did: str) -> PdsHost:
        """Return the PDS host of an account; raises the errors of PdsResolver."""
        return self._open_host(self._resolver.pds_of(did))

    def group_by_host(self, accounts: Sequence[Account]) -> list[tuple[PdsHost, list[Account]]]:
        """Group accounts by their PDS hosts; those without a known PDS are left out."""
        urls = self._resolver.known_urls([account.did for account in accounts])
        groups: dict[str, list[Account]] = defaultdict(list)
        for account in accounts:
            if url := urls.get(account.did):
                groups[url].append(account)
        return [(self._open_host(url), group) for url, group in groups.items()]

    def look_up(self, did: str) -> PdsHost:
        """Return the same as `for_did`, without saving anything about the account."""
        return self._open_host(self._resolver.look_up(did))

    def find_new_host(self, did: str, host: PdsHost) -> PdsHost | None:
        """Resolve an account again; return its new host, or None if it has not moved."""
        url = _find_new_url(self._resolver, did, host.pds.url)
        return self._open_host(url) if url else None


def _find_new_url(resolver: PdsResolver, did: str, url: str) -> str | None:
    """Resolve an account again; return its PDS URL, or None if it is still `url`."""
    try:
        found = resolver.refresh(did)
    except UNRESOLVED:
        return None  # the new URL is unknown, so the caller reports the error of the old PDS
    return None if found == url else found


@dataclass(frozen=True, slots=True)
class PdsCaller:
    """An HTTP client for PDSes, and the limits of its calls."""

    request: HttpClient
    limits: CallLimits


@dataclass(frozen=True, slots=True)
class PdsHostFactory:
    """Creates the PdsHosts of a workload.

    `trusted` are the URLs of PDSes that `own` calls; `others` calls all other PDSes, within
    `slots`. Accounts that cannot log in are parked for `parked` seconds. `bypass` maps hosts to
    rate limit bypass keys. `note_live_traffic` is called with a host when a save uses it.
    """

    resolver: PdsResolver
    trusted: Collection[str]
    own: PdsCaller
    others: PdsCaller
    rate_limiter: RateLimiter
    slots: HostSlots
    redis: Redis
    vault: Vault
    alerts: Alerts
    metrics: Metrics
    parked: float
    bypass: Mapping[str, Secret]
    note_live_traffic: Callable[[str], None]

    def hosts(self, workload: Workload) -> PdsHosts:
        return PdsHosts(self.resolver, partial(self._open, workload))

    def _open(self, workload: Workload, url: str) -> PdsHost:
        host = urlsplit(url).netloc
        if workload is Workload.LIVE:
            self.note_live_traffic(host)
        limiter, key = self.rate_limiter.for_host(host, workload), self.bypass.get(host)
        is_own = url in self.trusted
        caller = self.own if is_own else self.others
        pds = PdsClient(
            url,
            request=caller.request,
            redirects=self.others.request,
            limiter=limiter,
            hold_slot=nullcontext if is_own else partial(self.slots.hold, host),
            hold_waiting=nullcontext if is_own else partial(self.slots.hold_waiting, host),
            bypass=key,
            metrics=self.metrics,
            limits=caller.limits,
        )
        sessions = Sessions(
            self.redis,
            self.vault,
            pds,
            parked=self.parked,
            alerts=self.alerts,
            has_moved=partial(self._has_moved, url),
        )
        return PdsHost(pds, sessions)

    def _has_moved(self, url: str, did: str) -> bool:
        try:
            return _find_new_url(self.resolver, did, url) is not None
        except AccountError:
            return False  # the DID is gone, so the account is parked
