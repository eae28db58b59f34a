"""Where an account lives: its PDS, as one traffic class may call it, and its sessions there.

Live and bulk work share the connections and rate limits of a host, but not its reserve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from atproto import Request
from redis import Redis

from worker.core.secrets import Secret, Vault
from worker.pds.client import Pds
from worker.pds.identity import Directory, DirectoryError
from worker.pds.rate_limiter import Budget, Lane
from worker.pds.sessions import Sessions
from worker.telemetry.alerts import Reporter
from worker.telemetry.metrics import Recorder


@dataclass(frozen=True, slots=True)
class Home:
    """A PDS, and the sessions of accounts there."""

    pds: Pds
    sessions: Sessions


class Homes:
    """The homes of all accounts. `open_home` makes what it takes to call the PDS at a URL."""

    def __init__(self, directory: Directory, open_home: Callable[[str], Home]) -> None:
        self._directory = directory
        self._open_home = open_home

    def of(self, did: str) -> Home:
        """Return an account's home; raises DirectoryError and RedisUnavailableError."""
        return self._open_home(self._directory.pds_of(did))

    def moved(self, did: str, home: Home) -> Home | None:
        """Return where an account in trouble at its home has moved to; None if it has not.

        Raises RedisUnavailableError.
        """
        try:
            url = self._directory.look_again(did)
        except DirectoryError:
            return None  # nobody can tell, so the trouble is what it looks like
        return None if url == home.pds.url else self._open_home(url)


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
