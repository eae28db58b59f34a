"""What pages and commands read of all accounts takes few requests, however many there are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from pymongo import MongoClient

from tests.contract.counting import Commands, Requests
from tests.contract.items import save
from worker.core.clock import now
from worker.core.rate_limits import Cost, Rates, Resource
from worker.core.secrets import Secret
from worker.database.accounts import Accounts
from worker.database.mongo import RawDocument
from worker.database.store import DocumentStore
from worker.operations.status import BlockedAccounts
from worker.pds.errors import AccountUnusableError
from worker.pds.pds_cache import CachedPds, PdsCache
from worker.pds.rate_limiter import Workload
from worker.services import Services, build
from worker.web.snapshots import StatusSnapshots

_FEW, _MANY = 30, 300
_HOST = "pds.example"


@pytest.fixture
def services(here: Services, queue_url: str) -> Iterator[Services]:
    """Return services with an empty database and an empty Redis."""
    limits = replace(here.settings.pds, rates=Rates.parse("* points_hour=1000"))
    settings = replace(here.settings, redis_url=Secret(queue_url), pds=limits)
    with closing(build(settings)) as opened:
        yield opened


@pytest.fixture
def requests(services: Services) -> Requests:
    """Count what `services` ask Redis."""
    return Requests(services.storage.redis)


def did(number: int) -> str:
    """Return the DID of an account."""
    return f"did:plc:{number:024d}"


def charge(services: Services, numbers: range) -> None:
    """Log in to accounts and write to their repos, a different number of points each."""
    limits = services.pds.rate_limiter.for_host(_HOST, Workload.LIVE)
    for number in numbers:
        limits.acquire("session", [Cost(Resource.LOGINS, 1, did(number))])
        limits.acquire("write", [Cost(Resource.POINTS, number + 1, did(number))])


def test_metrics_of_ten_times_as_many_accounts_take_no_more_requests(
    services: Services, requests: Requests
) -> None:
    """They show the least that is left of each limit; the buckets are those of all accounts."""
    charge(services, range(_FEW))
    few = requests.of(lambda: StatusSnapshots(services).metrics())
    charge(services, range(_FEW, _MANY))
    metrics: list[str] = []
    many = requests.of(lambda: metrics.append(StatusSnapshots(services).metrics().text().decode()))
    assert many <= few + 3
    assert f'budget_left_ratio{{budget="points_hour",pds="{_HOST}"}} 0.7\n' in metrics[0]
    buckets = services.pds.rate_limiter.buckets()
    used = {(each.limit, each.subject): each.used for each in buckets}
    assert used == {
        **{(limit, did(n)): n + 1 for n in range(_MANY) for limit in ("points_hour", "points_day")},
        **{(limit, did(n)): 1 for n in range(_MANY) for limit in ("logins_5min", "logins_day")},
    }


def block(services: Services, numbers: range) -> None:
    """Store accounts with a pending item each, of which every other one is parked."""
    storage, cache = services.storage, PdsCache(services.storage.redis, services.pds.vault)
    error: RawDocument = {"step": "account", "message": "m", "permanent": False, "at": now()}
    state: RawDocument = {"status": "pending", "error": {**error, "code": "account_takedown"}}
    users: list[RawDocument] = [
        {
            "_id": f"auth0|{number}",
            "atproto": {"did": did(number), "handle": f"h{number}.test", "password": "x"},
        }
        for number in numbers
    ]
    storage.database["users"].insert_many(users)
    for number in numbers:
        save(services, user=f"auth0|{number}", atproto=state)
        cache.save(did(number), CachedPds.found(services.settings.pds.url))
    fault = AccountUnusableError("taken down", code="account_takedown")
    for account in storage.accounts.find_all(f"auth0|{number}" for number in numbers[::2]):
        services.pds.hosts.for_did(account.did).sessions.park(account, fault)


def test_ten_times_as_many_blocked_accounts_take_no_more_requests(
    services: Services, requests: Requests
) -> None:
    """Each is what it is if it is read alone."""
    commands, url = Commands(), services.settings.mongodb.url.reveal()
    with MongoClient[RawDocument](url, tz_aware=True, event_listeners=[commands]) as client:
        database = client[services.storage.database.name]
        store, accounts = DocumentStore(database, "art-guest"), Accounts(database)
        blocked = BlockedAccounts(store, accounts, services.pds.hosts, services.pds.parking)
        block(services, range(_FEW))
        few = requests.of(blocked.all), commands.counts.total()
        block(services, range(_FEW, _MANY))
        commands.counts.clear()
        many = requests.of(blocked.all), commands.counts.total()
        found = blocked.all()
    assert many[0] <= few[0] + 3
    assert many[1] <= few[1] + 3
    assert len(found) == _MANY
    for each in found:
        account = services.storage.accounts.find(each.subject)
        assert account == each.account
        assert account is not None
        parked = services.pds.hosts.for_did(account.did).sessions.find_parked(account)
        assert (each.parked, each.is_resolved) == (parked, parked is None)
        assert (parked is None) == (int(each.subject.removeprefix("auth0|")) % 2 == 1)


def test_blocked_accounts_are_listed_without_the_directory(services: Services) -> None:
    """It would be asked for each PDS URL that is no longer fresh; it knows none of these DIDs."""
    storage, pds = services.storage, services.pds
    block(services, range(4))
    blocked = BlockedAccounts(storage.store, storage.accounts, pds.hosts, pds.parking)
    found, cache = blocked.all(), PdsCache(storage.redis, pds.vault)
    stale = CachedPds(services.settings.pds.url, time.time() - 7200, time.time() - 3600)
    for number in range(4):
        cache.save(did(number), stale)
    assert blocked.all() == found
    assert [each.parked is not None for each in found] == [True, False, True, False]
    assert cache.find(did(0)) == stale
