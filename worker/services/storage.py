"""Build the clients of MongoDB and Redis, and the collections."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from threading import RLock
from typing import Any, TypeVar

from pymongo.database import Database
from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
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
# The defaults of the Redis client, in seconds. It has no state.
_RETRIES, _BACKOFF = 10, ExponentialWithJitterBackoff(base=0.01, cap=1.0)


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
    retries = 0 if timeouts.once else _RETRIES
    if timeouts.first is not None:
        return RetryAfterSuccess(retries)
    return Retry(_BACKOFF, retries)


class RetryAfterSuccess(Retry):
    """Retries calls of a client only after its first success.

    The first call is tried once. If it fails, all later calls raise its error at once, and calls
    of other threads wait for its end: a command reports a Redis that does not respond within one
    timeout, however many calls it makes. After the first success, it continues after a restart of
    Redis. All connections of the client share this object.
    """

    def __init__(self, retries: int) -> None:
        super().__init__(_BACKOFF, 0)
        self._later = retries
        self._lock = RLock()  # a call includes others, for example a health check
        self._has_succeeded = False
        self._error: Exception | None = None

    def __deepcopy__(self, memo: object) -> RetryAfterSuccess:
        return self

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002 - as in the base class
    ) -> T:
        with nullcontext() if self._has_succeeded else self._lock:
            if self._error:
                raise self._error
            try:
                result = super().call_with_retry(do, fail, is_retryable, with_failure_count)
            except self._supported_errors as error:
                self._error = None if self._has_succeeded else error
                raise
            if not self._has_succeeded:
                self._has_succeeded = True
                self.update_retries(self._later)
            return result
