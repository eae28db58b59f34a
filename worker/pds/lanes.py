"""Lanes: one fleet's two ways to the same PDSes, which share connections and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from atproto import Request
from redis import Redis

from worker.core.secrets import Secret, Vault
from worker.pds.client import Pds
from worker.pds.identity import Directory
from worker.pds.rate_limiter import Budget, Lane
from worker.pds.routing import Home, Homes
from worker.pds.sessions import Sessions
from worker.telemetry.alerts import Reporter
from worker.telemetry.metrics import Recorder


@dataclass(frozen=True, slots=True)
class Lanes:
    """Makes the homes of accounts as each lane sees them.

    Calls to the platform's `usual` PDS go over `own`, those to any other over `others`. Accounts
    that cannot log in are parked for `parked` seconds; `bypass` has keys by host.
    """

    directory: Directory
    usual: str
    own: Request
    others: Request
    budget: Budget
    redis: Redis
    vault: Vault
    reporter: Reporter
    recorder: Recorder
    parked: float
    bypass: Mapping[str, Secret]

    def homes(self, lane: Lane) -> Homes:
        """Return the homes of all accounts for a lane."""
        return Homes(self.directory, partial(self._open, lane))

    def _open(self, lane: Lane, url: str) -> Home:
        host = urlsplit(url).netloc
        meter, key = self.budget.meter(host, lane), self.bypass.get(host)
        request = self.own if url == self.usual else self.others
        pds = Pds(url, request=request, meter=meter, bypass=key, recorder=self.recorder)
        sessions = Sessions(self.redis, self.vault, pds, parked=self.parked, reporter=self.reporter)
        return Home(pds, sessions)
