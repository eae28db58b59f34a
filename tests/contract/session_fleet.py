"""Workers that share the session of one account, and a way to damage it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from redis import Redis

from tests.contract.proxy import Proxy, Reply, open_proxy
from worker.core.documents import Account
from worker.core.secrets import Purpose, Secret, Vault
from worker.dev.stack import Stack
from worker.pds.client import PdsClient, Session
from worker.pds.identity import StaticPdsResolver
from worker.pds.repo import Repo
from worker.pds.routing import PdsHost, PdsHosts
from worker.pds.sessions import Sessions

NSID = "computer.aesthetic.mood"
MOOD = {"$type": NSID, "text": "calm"}
LOGIN = "createSession"
REFRESH = "refreshSession"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Sessions as one worker has them, and the proxy that its calls pass.

    Redis forgets the account after each test.
    """

    proxy: Proxy
    redis: Redis
    vault: Vault
    pds: PdsClient
    account: Account
    session: Session
    open: Callable[[Vault, float], Sessions]

    def sessions(self, *keys: Secret, parked: float = 60) -> Sessions:
        """Return the sessions of another worker, with other keys or time of parking."""
        return self.open(Vault(keys) if keys else self.vault, parked)

    def repo(self, sessions: Sessions | None = None) -> Repo:
        """Return the account's repo."""
        home = PdsHost(self.pds, sessions or self.sessions())
        return Repo(PdsHosts(StaticPdsResolver(self.pds.url), lambda _: home), self.account)

    def logins_and_refreshes(self) -> tuple[int, int]:
        """Return how many of either the PDS has seen."""
        return self.proxy.count(LOGIN), self.proxy.count(REFRESH)

    def names(self, what: str = "*") -> list[str]:
        """Return the names of what Redis keeps of the account."""
        pattern = f"media-atproto:{what}:{self.account.did}:*"
        return [name.decode() for name in self.redis.scan_iter(pattern, count=1000)]

    def kept(self) -> str:
        """Return the name under which Redis keeps the account's session."""
        (name,) = self.names("session")
        return name

    def plant(self, *, access: str | None = None, refresh: str | None = None) -> Session:
        """Log in, with a session that is good, and then change what is kept of it in Redis.

        The proxy answers the login, so that no test waits for the PDS's slow one in vain.
        """
        tokens = {"accessJwt": self.session.access.reveal()}
        tokens |= {"refreshJwt": self.session.refresh.reveal(), "did": self.session.did}
        self.proxy.answer(Reply(200, json.dumps(tokens).encode()), LOGIN)
        session = self.sessions().get(self.account)
        self.proxy.be_honest()
        kept = [access or tokens["accessJwt"], refresh or tokens["refreshJwt"]]
        self.redis.set(self.kept(), self.seal_session(json.dumps(kept)), keepttl=True)
        return session

    def seal_session(self, text: str) -> str:
        """Seal a text as the account's session at the PDS."""
        subject = f"{self.account.did} {self.pds.url}"
        return self.vault.seal(text, Purpose.SESSION, subject)


def token_until(moment: float) -> str:
    """Return an access token that says it is good until then. No PDS would take it."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": moment}).encode()).decode()
    return f"e30.{claims.rstrip('=')}.c2ln"


@contextmanager
def open_fleet(stack: Stack, vault: Vault, account: Account, session: Session) -> Iterator[Fleet]:
    """Open the sessions of workers whose calls to the PDS pass through a proxy."""
    with ExitStack() as undo:
        proxy = undo.enter_context(open_proxy(stack.environment["PDS_URL"]))
        pds = PdsClient(proxy.url)
        undo.callback(pds.close)

        def open_redis() -> Redis:
            url = stack.environment["REDIS_URL"]
            client: Redis = undo.enter_context(Redis.from_url(url, socket_timeout=5))
            return client

        def open_sessions(vault: Vault, parked: float) -> Sessions:
            return Sessions(open_redis(), vault, pds, parked=parked)

        redis = open_redis()
        fleet = Fleet(proxy, redis, vault, pds, account, session, open_sessions)
        yield fleet
        for name in fleet.names():
            redis.delete(name)
