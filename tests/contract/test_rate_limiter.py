"""Rate budgets in a real Redis: nothing is sent that there is no room for, and counts heal."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from uuid import uuid4

import pytest
from redis import Redis

from worker.core.clock import after, now
from worker.core.errors import RateLimitReachedError, WaitError
from worker.core.rate_limits import REQUEST, Cost, Rates, Resource
from worker.core.redis_errors import RedisUnavailableError
from worker.pds.account_cache import AccountCache
from worker.pds.rate_limiter import HostLimiter, RateLimiter, Reservation, Workload

_HOUR = {"policy": "5000;w=3600", "reset": "1800"}
_DAY = {"policy": "35000;w=86400", "reset": "40000"}


@dataclass(frozen=True)
class Bench:
    """Budgets of a PDS and a repo that no other test knows."""

    redis: Redis
    host: str
    did: str

    def rate_limiter(self, limits: str = "reference", egress: str = "") -> RateLimiter:
        """Return the budgets as another worker has them."""
        return RateLimiter(self.redis, Rates.parse(limits), reserve=0.2, egress=egress)

    def limiter(self, limits: str = "reference", workload: Workload = Workload.LIVE) -> HostLimiter:
        """Return a worker's meter."""
        return self.rate_limiter(limits).for_host(self.host, workload)

    def write(self, points: int = 2, who: str = "") -> tuple[Cost, ...]:
        """Return what a write costs."""
        return (Cost(Resource.POINTS, points, who or self.did), REQUEST)

    def key(self, limit: str, who: str | None = None) -> str:
        """Return the name of a bucket in Redis."""
        return f"media-atproto:budget:{self.host}|{limit}|{self.did if who is None else who}"

    def used(self, limit: str, who: str | None = None) -> int:
        """Return the points that a bucket says are used."""
        return int(self.redis.hget(self.key(limit, who), "used") or 0)


def test_each_named_address_has_the_limits_per_address_to_itself(bench: Bench) -> None:
    """Those of a repo apply wherever its calls come from."""
    for egress, uploads in (("eu-1", 2), ("eu-2", 1), ("", 1)):
        limiter = bench.rate_limiter(egress=egress).for_host(bench.host, Workload.LIVE)
        for _ in range(uploads):
            limiter.acquire("upload", (Cost(Resource.UPLOADS), *bench.write()))
    assert [bench.used("uploads_day", who) for who in ("eu-1", "eu-2", "")] == [2, 1, 1]
    assert bench.used("points_hour") == 4 * 2
    shown = bench.rate_limiter().buckets()
    named = [each.subject for each in shown if each.host == bench.host and "upload" in each.limit]
    assert named == ["", "eu-1", "eu-2"]


@pytest.fixture
def bench(redis: Redis) -> Iterator[Bench]:
    """Return budgets of a PDS and a repo that no other test uses."""
    mark = uuid4().hex[:12]
    yield Bench(redis, f"{mark}.example", f"did:plc:{mark}")
    for name in redis.scan_iter(f"media-atproto:budget:{mark}*"):
        redis.delete(name)


def told(left: int, said: dict[str, str] = _HOUR) -> dict[str, str]:
    """Return the headers of an answer that tells of a bucket."""
    return {
        "ratelimit-policy": said["policy"],
        "ratelimit-remaining": str(left),
        "ratelimit-reset": said["reset"],
    }


def send(
    limiter: HostLimiter, costs: tuple[Cost, ...], headers: dict[str, str] | None = None
) -> None:
    """Spend for a call, and have it answered."""
    limiter.settle(limiter.acquire("write", costs), headers or {})


def seconds_refused(limiter: HostLimiter, costs: tuple[Cost, ...]) -> float:
    """Return for how long a call has to wait; 0 when it has not."""
    try:
        limiter.acquire("write", costs)
    except RateLimitReachedError as error:
        return (error.until - now()).total_seconds()
    return 0.0


def test_nothing_is_sent_beyond_the_limit_by_any_number_of_workers(bench: Bench) -> None:
    """The gate is before the call, and atomic: of 200 calls at once exactly 50 may be sent."""
    limiters = [bench.limiter(f"{bench.host} points_hour=100") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        waits = list(
            pool.map(lambda n: seconds_refused(limiters[n % 8], bench.write()), range(200))
        )
    assert waits.count(0.0) == 50
    assert all(0 < wait <= 3600 for wait in waits if wait)
    assert bench.used("points_hour") == 100


def test_refused_call_is_charged_to_no_bucket(bench: Bench) -> None:
    """It was not sent: what it would have taken of the other buckets is there for others."""
    limiter = bench.limiter(f"{bench.host} points_hour=4")
    send(limiter, bench.write(4))
    used = [bench.used(name, who) for name, who in (("points_day", None), ("requests_5min", ""))]
    with pytest.raises(RateLimitReachedError) as caught:
        limiter.acquire("write", bench.write(1))
    assert (caught.value.step, caught.value.code) == ("write", "budget_spent")
    assert f"points_hour of {bench.did} at {bench.host}" in caught.value.message
    assert used == [4, 1]
    assert used == [bench.used("points_day"), bench.used("requests_5min", "")]


def test_one_repo_that_is_spent_stops_no_other(bench: Bench) -> None:
    """Points are a repo's own; requests are everybody's together."""
    limiter = bench.limiter(f"{bench.host} points_hour=4 requests_5min=3")
    send(limiter, bench.write(4))
    assert seconds_refused(limiter, bench.write(1))
    send(limiter, bench.write(4, "did:plc:bob"))
    send(limiter, bench.write(4, "did:plc:eve"))
    assert 0 < seconds_refused(limiter, bench.write(4, "did:plc:joe")) <= 300


def test_saves_have_a_share_that_nothing_else_spends(bench: Bench) -> None:
    """When a backfill has taken its part, a save still goes through."""
    limits = f"{bench.host} points_hour=100"
    bulk, live = bench.limiter(limits, Workload.BULK), bench.limiter(limits)
    for _ in range(8):
        send(bulk, bench.write(10))
    assert bulk.remaining_points(bench.did) == 0
    assert seconds_refused(bulk, bench.write(1))
    assert live.remaining_points(bench.did) == 20
    send(live, bench.write(20))
    assert seconds_refused(live, bench.write(1))


def test_room_is_what_may_be_spent_at_once(bench: Bench) -> None:
    """The least of hour and day; None where nobody counts."""
    limiter = bench.limiter(f"{bench.host} points_hour=100 points_day=60")
    assert limiter.remaining_points(bench.did) == 60
    send(limiter, bench.write(50))
    assert limiter.remaining_points(bench.did) == 10
    assert bench.limiter(f"{bench.host} off").remaining_points(bench.did) is None


def test_call_larger_than_a_whole_window_goes_at_the_start_of_one(bench: Bench) -> None:
    """It would never go otherwise."""
    limiter = bench.limiter(f"{bench.host} points_hour=5")
    send(limiter, bench.write(300))
    assert seconds_refused(limiter, bench.write(1))


def test_window_ends_and_another_begins(bench: Bench) -> None:
    """What was spent in one is not missing in the next."""
    limiter = bench.limiter(f"{bench.host} points_hour=2")
    send(limiter, bench.write())
    assert seconds_refused(limiter, bench.write())
    bench.redis.hset(bench.key("points_hour"), "ends", "1")
    assert not seconds_refused(limiter, bench.write())
    assert bench.used("points_hour") == 2


def test_answer_tells_what_others_have_spent(bench: Bench) -> None:
    """The account's owner writes too, and Redis may have forgotten what we did."""
    limiter = bench.limiter()
    send(limiter, bench.write(), told(3))
    assert bench.used("points_hour") == 4997
    assert limiter.remaining_points(bench.did) == 3
    assert 900 < seconds_refused(limiter, bench.write(4)) <= 1802


def test_only_the_bucket_that_an_answer_names_is_corrected(bench: Bench) -> None:
    """What is left of the day says nothing about the hour."""
    limiter = bench.limiter()
    send(limiter, bench.write(), told(100, _DAY))
    assert bench.used("points_day") == 34_900
    assert bench.used("points_hour") == 2
    assert bench.used("requests_5min", "") == 1


def test_calls_that_are_under_way_count_beside_what_an_answer_tells(bench: Bench) -> None:
    """The server has not seen them yet when it answers."""
    limiter = bench.limiter()
    ticket = limiter.acquire("write", bench.write(10))
    send(limiter, bench.write(20), told(100))
    assert limiter.remaining_points(bench.did) == 90
    limiter.settle(ticket, told(90))
    assert limiter.remaining_points(bench.did) == 90


def test_answers_that_overtake_each_other_free_nothing(bench: Bench) -> None:
    """An older answer knows of less that was spent. Too low an estimate does no harm."""
    limiter = bench.limiter()
    first, second = (limiter.acquire("write", bench.write()) for _ in range(2))
    limiter.settle(second, told(4))
    limiter.settle(first, told(6))
    assert 0 < (limiter.remaining_points(bench.did) or 0) <= 4


def test_limit_that_is_lower_than_we_believed_is_taken_over(bench: Bench) -> None:
    """And one that is higher than what the operator allows is not."""
    limiter = bench.limiter()
    send(limiter, bench.write(), {**told(90), "ratelimit-policy": "100;w=3600"})
    assert limiter.remaining_points(bench.did) == 90
    own = bench.limiter(f"{bench.host} points_hour=50")
    assert own.remaining_points(bench.did) == 40


@pytest.mark.parametrize(
    ("limit", "headers"), [("5000", told(1000)), ("5000/20", {})], ids=["started anew", "window"]
)
def test_count_that_is_far_too_high_is_corrected(
    bench: Bench, limit: str, headers: dict[str, str]
) -> None:
    """A PDS that was started anew, or has another window, is right about count and end."""
    limiter = bench.limiter(f"{bench.host} points_hour={limit}")
    send(limiter, bench.write(4000), headers)
    send(limiter, bench.write(), told(4990))
    assert limiter.remaining_points(bench.did) == 4990
    assert 900 < seconds_refused(limiter, bench.write(4991)) <= 1802


@pytest.mark.parametrize("headers", [told(0), {}])
def test_refusal_closes_the_gate_until_it_says(bench: Bench, headers: dict[str, str]) -> None:
    """For that repo; without a name, what the call was charged first is meant."""
    limiter = bench.limiter()
    refusal = WaitError("slow down", until=after(500), step="write", code="rate_limited")
    limiter.settle(limiter.acquire("write", bench.write()), headers, refusal)
    assert 60 < seconds_refused(limiter, bench.write()) <= 500
    assert limiter.remaining_points(bench.did) == 0
    send(limiter, bench.write(2, "did:plc:bob"))
    (gate,) = (each for each in bench.rate_limiter().exhausted_buckets() if each.host == bench.host)
    assert (gate.host, gate.limit, gate.subject) == (bench.host, "points_hour", bench.did)
    assert gate.refused


@pytest.mark.parametrize(
    "garbage",
    [
        {"used": "999999999", "ends": "9999999999999", "began": "1", "heard": "1"},
        {"used": "-7", "ends": "nan", "shut": "inf", "probe": "-inf"},
        {"used": "lots", "ends": "", "points": "x", "window": "-1"},
        {"used": "4e15", "points": "0.5", "window": "1e308", "shut": "9999999999999999"},
    ],
)
def test_budget_full_of_garbage_begins_anew(bench: Bench, garbage: dict[str, str]) -> None:
    """Nobody need look for what is wrong in Redis."""
    for field, text in garbage.items():
        bench.redis.hset(bench.key("points_hour"), field, text)
    bench.redis.set(bench.key("points_day"), "not even a hash")
    bench.redis.rpush(bench.key("requests_5min", ""), "nor this")
    limiter = bench.limiter()
    send(limiter, bench.write())
    assert bench.used("points_hour") == bench.used("points_day") == 2
    assert all(int(bench.redis.pttl(name)) > 0 for name in bench.redis.scan_iter(bench.key("*")))


def test_count_that_the_server_never_spoke_of_is_doubted(bench: Bench) -> None:
    """Wrong numbers would close a gate for a day: one call goes out now and then to ask."""
    limiter = bench.limiter()
    send(limiter, bench.write(5000))
    assert 0 < seconds_refused(limiter, bench.write()) <= 60
    bench.redis.hset(bench.key("points_hour"), "probe", "1")
    asking = limiter.acquire("write", bench.write())
    assert 0 < seconds_refused(limiter, bench.write()) <= 60
    limiter.settle(asking, told(4998))
    assert limiter.remaining_points(bench.did) == 4998


def test_count_that_the_server_has_confirmed_is_not_doubted(bench: Bench) -> None:
    """Asking would be refused, and charged."""
    limiter = bench.limiter()
    send(limiter, bench.write(), told(1))
    bench.redis.hset(bench.key("points_hour"), "probe", "1")
    assert seconds_refused(limiter, bench.write()) > 1000


def test_calls_that_were_never_answered_are_forgotten(bench: Bench) -> None:
    """A killed worker's calls are not under way for ever."""
    limiter = bench.limiter()
    limiter.acquire("write", bench.write(600))
    bench.redis.hset(bench.key("points_hour"), "last", "1")
    send(limiter, bench.write(), told(100))
    assert limiter.remaining_points(bench.did) == 100


def test_gates_that_are_closed_are_listed(bench: Bench) -> None:
    """What is spent but for the share of saves, and until when; nothing else."""
    limits = f"{bench.host} points_hour=10"
    send(bench.limiter(limits), bench.write(7))
    assert [g for g in bench.rate_limiter(limits).exhausted_buckets() if g.host == bench.host] == []
    send(bench.limiter(limits), bench.write(1))
    (gate,) = (g for g in bench.rate_limiter(limits).exhausted_buckets() if g.host == bench.host)
    assert (gate.limit, gate.used, gate.points, gate.refused) == ("points_hour", 8, 10, False)
    assert now() < gate.until < after(3700)


def test_budgets_go_with_an_account_that_is_erased(bench: Bench) -> None:
    """Those of its repo; our address keeps its own."""
    send(bench.limiter(), bench.write())
    AccountCache(bench.redis).delete_all(bench.did)
    left = [name.decode() for name in bench.redis.scan_iter(f"*{bench.host}*")]
    assert left == [bench.key("requests_5min", "")]


def test_without_redis_nothing_is_sent_and_what_was_sent_counts_as_sent(bench: Bench) -> None:
    """A call that was carried out does not fail for what cannot be counted."""
    ticket = bench.limiter().acquire("write", bench.write())
    with Redis.from_url("redis://127.0.0.1:9/0") as nowhere:
        limiter = replace(bench, redis=nowhere).limiter()
        with pytest.raises(RedisUnavailableError):
            limiter.acquire("write", bench.write())
        limiter.settle(ticket, told(5))


def test_pds_without_limits_costs_redis_nothing() -> None:
    """An operator's own PDS, or one with a bypass."""
    with Redis(port=1) as nobody:
        limiter = RateLimiter(nobody, Rates.parse("off"), reserve=0.2).for_host(
            "pds.example", Workload.BULK
        )
        assert limiter.acquire("write", (REQUEST,)) == Reservation((), ())
        limiter.settle(Reservation((), ()), told(0))
