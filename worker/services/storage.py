"""Build the clients of MongoDB and Redis, and the collections."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from pymongo.database import Database
from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
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

T = TypeVar("T")
_RETRIES, _BACKOFF, _MAX_BACKOFF = 10, 0.01, 1.0  # seconds; the defaults of the Redis client


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
    database = connect(settings.mongodb, timeouts.first)
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
    # A command waits for its first answer as long as for all others: they are all short.
    seconds = min(timeouts.redis, timeouts.first or timeouts.redis)
    try:
        return Redis.from_url(
            settings.redis_url.reveal(),
            socket_timeout=seconds,
            socket_connect_timeout=min(seconds, 3),
            health_check_interval=10,
            retry=_retry(timeouts),
        )
    except ValueError:
        raise SettingsError(["REDIS_URL is not a valid Redis URL"]) from None


def _retry(timeouts: Timeouts) -> Retry:
    if timeouts.once:
        return Retry(NoBackoff(), 0)
    backoff = ExponentialWithJitterBackoff(base=_BACKOFF, cap=_MAX_BACKOFF)
    if timeouts.first is None:
        return Retry(backoff, _RETRIES)
    return RetryAfterSuccess(backoff, 0)


class RetryAfterSuccess(Retry):
    """Retries calls of a connection only after its first success.

    A command then reports at once that Redis does not respond, but continues after a restart of
    Redis. Each connection has its own copy.
    """

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002 - as in the base class
    ) -> T:
        result = super().call_with_retry(do, fail, is_retryable, with_failure_count)
        self.update_retries(_RETRIES)
        return result
