"""What an account that cannot log in costs its PDS, and its owner's mailbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from bson import ObjectId
from redis import Redis

from tests.bulk import account, set_password
from tests.contract.proxy import Proxy, Reply
from tests.contract.session_fleet import LOGIN, Fleet
from tests.world import World
from worker.core.clock import now
from worker.core.errors import AccountError
from worker.media import MEDIA_TYPES, media_type
from worker.operations.audit.run import open_audit
from worker.operations.status import BlockedAccounts
from worker.pds.account_cache import AccountCache
from worker.sync.batch.engine import BatchRequest

_DAY = 86_400
_FACTOR = Reply(401, b'{"error":"AuthFactorTokenRequired"}')


def logins(fleet: Fleet, days: int) -> int:
    """Return how many logins an account costs that is tried whenever its parking has ended."""
    sessions, passed = fleet.sessions(parked=900), 0.0
    while passed < days * _DAY:
        for _ in range(3):
            with pytest.raises(AccountError):
                sessions.get(fleet.account)
        parked = sessions.find_parked(fleet.account)
        assert parked
        passed += (parked.until - now()).total_seconds()
        fleet.redis.delete(*fleet.names("parked"))
    return fleet.proxy.count(LOGIN)


@pytest.mark.parametrize(
    ("name", "days", "most"),
    [
        ("AuthenticationRequired", 80, 1),
        ("AuthFactorTokenRequired", 80, 1),
        ("AccountTakedown", 1, 7),
        ("AccountTakedown", 30, 36),
        ("InvalidRequest", 30, 36),
    ],
)
def test_refused_logins_become_rare(fleet: Fleet, name: str, days: int, most: int) -> None:
    """A parking of 15 minutes would cost 96 logins a day."""
    fleet.proxy.answer(Reply(400, json.dumps({"error": name}).encode()), LOGIN)
    assert logins(fleet, days) == most


def test_many_processes_log_in_once_per_interval(fleet: Fleet) -> None:
    """When the parking ends for all of them at once."""
    fleet.proxy.answer(Reply(400, b'{"error":"AccountTakedown"}'), LOGIN)
    workers = [fleet.sessions(parked=900) for _ in range(16)]
    for interval in range(1, 4):
        with ThreadPoolExecutor(16) as pool:
            tried = [pool.submit(worker.get, fleet.account) for worker in workers]
            assert {type(each.exception()) for each in tried} == {AccountError}
        assert fleet.proxy.count(LOGIN) == interval
        fleet.redis.delete(*fleet.names("parked"))


@pytest.fixture
def world(proxied: tuple[World, Proxy], proxy: Proxy) -> World:
    """Return a world in which a user is not logged in, and nothing has been called."""
    world = proxied[0]
    with Redis.from_url(world.environ["REDIS_URL"]) as redis:
        AccountCache(redis).invalidate(world.dids[world.ada])
    proxy.forget_calls()
    return world


def save(world: World) -> ObjectId:
    """Sync a new mood, as a save does."""
    item = world.platform.save_mood("calm", world.ada)
    assert world.sync("mood", item).status == "pending"
    return item


def sync_batch(world: World) -> None:
    """Sync new moods, as a batch of a backfill does."""
    items = [world.platform.save_mood("calm", world.ada) for _ in range(3)]
    request = BatchRequest(media_type("mood"), world.ada, items, uuid4().hex, backfill=uuid4().hex)
    world.services.sync.batches.sync_reporting(request, max_wait=0)


def audit(world: World) -> None:
    """Audit the account, and repair what is found."""
    with open_audit(world.services, list(MEDIA_TYPES.values()), repair=True) as audits:
        audits.of_account(account(world, world.ada))


def sweep(world: World) -> None:
    """Sync what is due, as the sweep has it done."""
    for mood in world.services.storage.database["moods"].find({"user": world.ada}):
        world.sync("mood", ObjectId(str(mood["_id"])))


@pytest.mark.parametrize("work", [save, sync_batch, audit, sweep])
def test_second_factor_sends_one_email(
    world: World, proxy: Proxy, work: Callable[[World], object]
) -> None:
    """Each login sends one, so nothing logs in again: no save, batch, audit or sweep."""
    proxy.answer(_FACTOR, LOGIN)
    save(world)
    for _ in range(3):
        work(world)
    assert proxy.count(LOGIN) == 1
    moods = world.services.storage.database["moods"]
    assert moods.distinct("atproto.attempts", {"atproto.status": "pending"}) == [0]


@pytest.mark.parametrize("status", [400, 403, 422])
def test_items_of_a_refused_login_are_found(world: World, proxy: Proxy, status: int) -> None:
    """By `accounts` and its --resume, whatever code the PDS has sent."""
    world.services.storage.database["moods"].delete_many({})
    proxy.answer(Reply(status, b"{}"), LOGIN)
    item, pds = save(world), world.services.pds
    storage = world.services.storage
    blocked = BlockedAccounts(storage.store, storage.accounts, pds.hosts, pds.parking)
    (found,) = blocked.all()
    assert (found.code, found.waiting, found.subject) == (f"pds_{status}", 1, world.ada)
    assert [waiting.ref.id for waiting in blocked.waiting_for(world.ada)] == [item]


def test_changed_password_is_used_at_once(world: World, proxy: Proxy) -> None:
    """The items that have waited are published by their next check."""
    right = set_password(world, world.ada, "canary-wrong")
    try:
        item = save(world)
        for _ in range(3):
            save(world)
        assert proxy.count(LOGIN) == 1
    finally:
        set_password(world, world.ada, right)
    assert world.sync("mood", item).status == "synced"
    assert proxy.count(LOGIN) == 2
