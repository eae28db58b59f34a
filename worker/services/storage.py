"""Build the clients of MongoDB and Redis, and the collections."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from pymongo.database import Database
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.core.settings import Settings
from worker.core.settings.reader import SettingsError
from worker.database.account_changes import AccountChanges
from worker.database.accounts import Accounts
from worker.database.adopted_repos import AdoptedRepos
from worker.database.backlog import Backlog
from worker.database.mongo import RawDocument, connect
from worker.database.removals import Removals
from worker.database.store import DocumentStore
from worker.services.timeouts import Timeouts


@dataclass(frozen=True, slots=True)
class Storage:
    """The clients of MongoDB and Redis, and the collections of items and accounts."""

    database: Database[RawDocument]
    redis: Redis
    store: DocumentStore
    accounts: Accounts
    account_changes: AccountChanges
    adopted_repos: AdoptedRepos
    backlog: Backlog
    removals: Removals


def build_storage(settings: Settings, timeouts: Timeouts, resources: ExitStack) -> Storage:
    """Build the clients, which connect on first use; raises SettingsError."""
    database = connect(settings.mongodb)
    resources.callback(database.client.close)
    store, accounts = DocumentStore(database, settings.guest_subject), Accounts(database)
    return Storage(
        database=database,
        redis=resources.enter_context(_connect_redis(settings, timeouts)),
        store=store,
        accounts=accounts,
        account_changes=AccountChanges(database, accounts, store),
        adopted_repos=AdoptedRepos(database),
        backlog=Backlog(database, store),
        removals=Removals(database),
    )


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
