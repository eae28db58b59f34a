"""Values that another program plants in Redis stop no worker and lead to no second record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from tests.bulk import account, save_moods, save_one_of, statuses, sync_batch
from tests.contract.older_records import write_older
from tests.contract.test_transport import connect
from tests.redis_databases import redis_database
from tests.world import World, Worlds
from worker.app import app
from worker.core.errors import AccountError
from worker.core.rate_limits import Cost, Rates, Resource
from worker.core.redis_errors import RedisUnavailableError
from worker.core.secrets import Purpose
from worker.dev.stack import Stack
from worker.operations.status import BlockedAccounts
from worker.pds.account_cache import AccountCache
from worker.pds.errors import AccountUnusableError
from worker.pds.locks import RepoLocks
from worker.pds.rate_limiter import RateLimiter, Workload
from worker.queue.names import BULK, LIVE
from worker.sync.batch.progress import ProgressTracker

Plant = Callable[[Redis, str], object]
HUGE = "9" * 400
PLANTED: dict[str, Plant] = {
    "null": lambda redis, name: redis.set(name, "null"),
    "no UTF-8, for a year": lambda redis, name: redis.set(name, b"\xff\xfe", ex=365 * 86_400),
    "list": lambda redis, name: redis.rpush(name, "x", HUGE),
    "hash of text": lambda redis, name: redis.hset(name, mapping={"used": "x", "\x1b[2J": HUGE}),
    "sorted set": lambda redis, name: redis.zadd(name, {"x": 1e300}),
}


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """Return a world with a Redis database of its own, whose PDS has rate limits."""
    with worlds.open_with_redis(RATE_LIMITS="* reference") as opened:
        yield opened


@pytest.fixture
def redis(world: World) -> Iterator[Redis]:
    """Return a client of that database, which is empty."""
    with Redis.from_url(world.environ["REDIS_URL"]) as client:
        client.flushdb()
        yield client
        client.flushdb()


def names_of(redis: Redis, did: str, backfill: str) -> list[str]:
    """Return the names of all keys for an account that has published, and of global keys."""
    found = [name.decode() for name in redis.scan_iter("media-atproto:*")]
    (tail,) = {name.partition(":session:")[2] for name in found if ":session:" in name}
    per_login = [f"{what}:{tail}" for what in ("session", "parked", "told", "login")]
    per_account = [f"home:{did}", f"repo:{did}", f"adopted:{backfill}:{did}"]
    per_queue = [f"sifted:{queue}" for queue in (LIVE, BULK)]
    progress = [f"backfill:{backfill}:{what}" for what in ("counts", "batches")]
    other = [
        "live:pds.example",
        "bulk-turn:pds.example",
        "budget:",
        "budget:x|y",
        f"parked:{HUGE}",
        "session:x",
        "home:",
    ]
    own = [*per_login, *per_account, *per_queue, *progress, *other]
    budgets = [name for name in found if ":budget:" in name]
    return [*(f"media-atproto:{name}" for name in own), *budgets]


@pytest.mark.parametrize("kind", PLANTED)
def test_items_are_published_whatever_is_planted_in_every_key(
    world: World, redis: Redis, kind: str
) -> None:
    """Alone, and in a batch of a backfill; what is shown to operators is shown as well."""
    first, *rest = save_moods(world, 3)
    assert world.sync("mood", first).status == "synced"
    backfill, did = uuid4().hex, world.dids[world.ada]
    for name in names_of(redis, did, backfill):
        redis.delete(name)
        PLANTED[kind](redis, name)
    services = world.services
    assert world.sync("mood", rest[0]).status == "synced"
    assert statuses(sync_batch(world, "mood", rest[1:], backfill=backfill)) == {"synced": 1}
    show_everything(world, redis, backfill)
    ada = account(world, world.ada)
    sessions = services.pds.hosts.for_did(did).sessions
    sessions.park(ada, AccountUnusableError("refused", code="wrong_password"))
    with pytest.raises(AccountError):
        sessions.get(ada)


def show_everything(world: World, redis: Redis, backfill: str) -> None:
    """Read what commands and pages read."""
    services = world.services
    services.pds.rate_limiter.buckets()
    storage, pds = services.storage, services.pds
    assert BlockedAccounts(storage.store, storage.accounts, pds.hosts, pds.parking).all() == []
    list(AccountCache(redis).read_all())
    for queue in (LIVE, BULK):
        services.sync.balancer.rebalance(queue, app.task_functions())
    with services.sync.batches.throttle.slot("pds.example") as writes:
        assert writes > 0
    with suppress(RedisUnavailableError):  # as for any error of Redis
        assert ProgressTracker(redis).read(backfill).total < 1000


def test_planted_counters_of_a_backfill_are_ignored(redis: Redis) -> None:
    """Neither a text in place of a number nor an escape sequence is shown."""
    progress, backfill = ProgressTracker(redis), uuid4().hex
    names = {"status:mood:synced": "5", "status:mood": "1", "reason:m:\x1b[2J": "1", "\u00e9": "1"}
    numbers = {"status:mood:failed": "null", "reason:mood:x": HUGE, "reason:mood:y": "-1"}
    for name, number in (names | numbers).items():
        redis.hset(f"media-atproto:backfill:{backfill}:counts", name, number)
    read = progress.read(backfill)
    assert (read.ended, read.reasons) == ({("mood", "synced"): 5}, {})


@pytest.mark.parametrize("forgery", ["not sealed", "for another repo", "for another backfill"])
def test_planted_marker_of_an_adoption_leads_to_no_second_record(
    world: World, redis: Redis, forgery: str
) -> None:
    """Without the adoption, the backfill would not know the record of an older program."""
    backfill, did = uuid4().hex, world.dids[world.ada]
    subjects = {"for another repo": f"{backfill} did:plc:x", "for another backfill": f"x {did}"}
    older = write_older(world, world.ada, "mood", save_one_of(world, "mood", world.ada))
    world.services.storage.database["atproto_accounts"].delete_many({})
    world.services.sync.batches.adoption.adopted._cached.clear()
    sealed = world.services.pds.vault.seal(
        "9999999999", Purpose.ADOPTION, subjects.get(forgery, "")
    )
    redis.set(f"media-atproto:adopted:{backfill}:{did}", sealed if forgery in subjects else 1)
    assert statuses(sync_batch(world, "mood", [older.item], backfill=backfill)) == {"synced": 1}
    assert len(world.records("mood", older.item)) == 1


def test_planted_lock_without_expiry_does_not_block_a_repo(redis: Redis) -> None:
    """Our own locks expire within seconds: one that does not is deleted."""
    did = f"did:plc:{uuid4().hex}"
    redis.set(f"media-atproto:repo:{did}", "planted")
    with RepoLocks(redis, patience=0.01).hold(did):
        pass


def test_planted_rate_limit_bucket_does_not_close_a_pds_for_years(redis: Redis) -> None:
    """No window is longer than the settings say, and no wait after a 429 longer than a day."""
    limiter = RateLimiter(redis, Rates.parse("* requests_5min=5"), reserve=0)
    name = "media-atproto:budget:pds.example|requests_5min|"
    redis.hset(name, mapping={"used": 1e14, "ends": 1e15, "window": 1e15, "heard": 1})
    host = limiter.for_host("pds.example", Workload.LIVE)
    host.acquire("read", [Cost(Resource.REQUESTS)])
    redis.hset(name, mapping={"shut": 4e12, "used": "inf"})
    host.acquire("read", [Cost(Resource.REQUESTS)])
    redis.hset(name, mapping={"ends": 1e15, "used": "nan"})
    assert limiter.buckets() == []


def test_planted_unacknowledged_message_does_not_keep_others_from_being_delivered_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is dropped; the messages of killed workers after it are delivered."""
    with redis_database(stack.environment["REDIS_URL"]) as url, Redis.from_url(url) as client:
        monkeypatch.setenv("REDIS_URL", url)
        for number, planted in enumerate(["not JSON", "7", '["one"]']):
            client.hset("unacked", f"tag{number}", planted)
            client.zadd("unacked_index", {f"tag{number}": number + 1})
        with connect(url) as connection:
            channel: Any = connection.default_channel
            channel.qos.restore_visible()
        assert client.exists("unacked", "unacked_index") == 0
