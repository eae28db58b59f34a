"""Measure the queries of the status page at a million documents and ten thousand accounts.

All documents are of one type, and most were published within the last day, which is the largest
number that the plots can have to count. All accounts have just logged in and written, which is the
largest number of rate limit buckets that they can have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from statistics import median

import httpx
from bson import ObjectId

from bench.figures import Figure, Section, Target, seconds
from bench.harness import Harness, open_harness
from bench.processes import MEDIA_ATPROTO
from bench.report import Report
from worker.core.clock import now
from worker.core.documents import Status
from worker.core.rate_limits import REQUEST, Cost, Resource
from worker.database.backlog import PUBLISHED
from worker.database.mongo import RawDocument
from worker.media import MEDIA_TYPES, media_type
from worker.operations.status import Failures, PageCursor, throughput
from worker.pds.pds_cache import CachedPds, PdsCache
from worker.pds.rate_limiter import Workload
from worker.web.snapshots import StatusSnapshots

_MANY, _FEW = 1_000_000, 5_000
_ACCOUNTS, _FEW_ACCOUNTS = 10_000, 100
_LIMITS = {"RATE_LIMITS": "* requests_5min=1000000"}  # of one PDS; the others are the reference's
_ROUNDS = 3
_TABS = 10
_CHUNK = 10_000
_DAY = timedelta(days=1)
_KIND = media_type("mood")
_LOGIN = ("bench", "password-of-the-bench")
_OTHERS = (Status.FAILED, Status.PARTIAL, Status.PENDING, Status.SKIPPED)


def measure(report: Report, *, quick: bool) -> None:
    """Measure queries, lists, pages and metrics on the same documents."""
    number = _FEW if quick else _MANY
    with open_harness(report, quick=quick, settings=_LIMITS) as harness:
        _fill(harness, number)
        report.add(_queries(harness, number))
        report.add(_lists(harness))
        report.add(_pages(harness))
        report.add(_metrics(harness, _FEW_ACCOUNTS if quick else _ACCOUNTS))


def _fill(harness: Harness, number: int) -> None:
    """Save moods, one of a hundred in each state but synced; create the indexes afterwards."""
    collection = harness.services.storage.store.collection(_KIND)
    collection.drop_indexes()
    documents = _documents(number)
    while chunk := list(islice(documents, _CHUNK)):
        collection.insert_many(chunk, ordered=False)
    harness.services.ensure_indexes()


def _documents(number: int) -> Iterator[RawDocument]:
    end = now()
    error = {"step": "document", "message": "a message", "permanent": True, "at": end}
    for n in range(number):
        at = end - _DAY * (n / number)
        state: RawDocument = {"status": "synced", "publishedAt": at, "repo": "did:plc:x"}
        state["rkey"] = f"k{n}"
        if n % 100 < len(_OTHERS):
            code = f"code_{n % 7 if n % 100 else 0}"
            state["status"] = str(_OTHERS[n % 100])
            state |= {"error": {**error, "code": code}, "reason": "no_account"}
        yield {"_id": ObjectId(), "mood": "calm", "when": at, "user": "auth0|a", "atproto": state}


def _queries(harness: Harness, number: int) -> Section:
    """Compare the overview's queries with reading the documents, and with a count of keys."""
    services = harness.services
    collection = services.storage.store.collection(_KIND)
    since: RawDocument = {"atproto.publishedAt": {"$gte": now() - 2 * _DAY}}
    minute = {"$dateTrunc": {"date": "$atproto.publishedAt", "unit": "minute"}}
    by_state = {"status": "$atproto.status", "code": "$atproto.error.code"}

    def scan(group: object, match: RawDocument) -> object:
        groups = {"$group": {"_id": group, "count": {"$sum": 1}}}
        return list(collection.aggregate([{"$match": match}, groups], hint={"$natural": 1}))

    overview = _median(lambda: StatusSnapshots(services).overview())
    plots = _median(lambda: throughput(services.storage.store, MEDIA_TYPES.values(), now()))
    keys = _median(lambda: collection.count_documents(since, hint=dict(PUBLISHED)))
    states, minutes = _median(lambda: scan(by_state, {})), _median(lambda: scan(minute, since))
    by_scan, bare, published = (
        "going through the documents",
        "a bare count of as many index keys",
        "published by minute and hour",
    )
    return Section(
        "queries",
        f"What the overview asks for, of {number:,} documents",
        f"Median of {_ROUNDS} after one that does not count, in turn; nothing is cached.",
        (
            Figure("whole picture", overview, "s", by_scan, states + minutes),
            Figure(published, plots, "s", by_scan, minutes),
            Figure(published, plots, "s", bare, keys),
        ),
    )


def _lists(harness: Harness) -> Section:
    failures = Failures(harness.services.storage.database, harness.services.storage.store)
    found = [item.ref.id for item in failures.of(_KIND, "code_0") if item.status is Status.FAILED]
    passed = len(found) * 9 // 10
    cursor = PageCursor(Status.FAILED, found[passed - 1])
    first = _median(lambda: failures.page(_KIND, "code_0", None, 50)) * 1000
    last = _median(lambda: failures.page(_KIND, "code_0", cursor, 50)) * 1000
    return Section(
        "lists",
        "Lists of failures",
        f"Median of {_ROUNDS} after one that does not count.",
        (Figure(f"page of 50 after {passed:,} items", last, "ms", "the first page", first),),
    )


def _pages(harness: Harness) -> Section:
    """Measure real pages, of a process that has cached nothing, for one tab and for many."""
    with _served(harness) as client:
        alone, queries = _load(harness, client, 1)
    with _served(harness) as client:
        slowest, all_queries = _load(harness, client, _TABS)
    return Section(
        "pages",
        "The overview as a browser gets it",
        f"Real processes that have counted nothing yet; {_TABS} tabs that load at once.",
        (
            Figure(f"slowest of {_TABS} tabs", slowest, "s", "one tab", alone),
            Figure(f"queries for {_TABS} tabs", all_queries, "", "for one tab", queries),
        ),
    )


def _load(harness: Harness, client: httpx.Client, tabs: int) -> tuple[float, int]:
    """Load tabs at once; return the seconds of the slowest one, and the number of queries."""
    before = _aggregations(harness)
    with ThreadPoolExecutor(tabs) as pool:
        times = pool.map(lambda _: seconds(lambda: client.get("/").raise_for_status()), range(tabs))
        return max(times), _aggregations(harness) - before


@dataclass(frozen=True, slots=True)
class _RedisUsage:
    """What a call takes: its seconds, and of Redis CPU time, time in commands and requests.

    `longest` is the longest command in milliseconds.
    """

    seconds: float
    cpu: float
    commands: float
    requests: int
    longest: float


def _metrics(harness: Harness, accounts: int) -> Section:
    """Measure what a scrape takes of Redis, compared with a request for each bucket."""
    _use_accounts(harness, accounts)
    buckets = len(harness.services.pds.rate_limiter.buckets())
    with _served(harness) as client:
        client.get("/").raise_for_status()
        scrape = _redis_usage(harness, lambda: client.get("/metrics").raise_for_status())
    single = _redis_usage(harness, lambda: _read_each_bucket(harness))
    beside = "a request for each bucket"
    meaning = f"seconds of Redis for /metrics with {accounts:,} accounts"
    return Section(
        "metrics",
        f"What /metrics takes of Redis, with {accounts:,} accounts and {buckets:,} buckets",
        "One request to a process that has shown the overview just now, so that documents are "
        "counted already. While Redis runs a command, all others wait.",
        (
            Figure("duration", scrape.seconds, "s", beside, single.seconds),
            Figure("CPU time of Redis", scrape.cpu, "s", beside, single.cpu),
            Figure("of that in commands", scrape.commands, "s", beside, single.commands),
            Figure("longest command", scrape.longest, "ms", beside, single.longest),
            Figure("reads from connections", scrape.requests, "", beside, single.requests),
        ),
        (Target("metrics_redis_seconds", meaning, scrape.cpu, 0.5),),
    )


def _use_accounts(harness: Harness, number: int) -> None:
    """Save in Redis what a login and a write of each account save there."""
    pds = harness.services.pds
    limits = pds.rate_limiter.for_host("pds.example", Workload.LIVE)
    cache = PdsCache(harness.redis, pds.vault)
    for n in range(number):
        did = f"did:plc:{n:024}"
        for cost in (Cost(Resource.LOGINS, 1, did), Cost(Resource.POINTS, 2, did)):
            limits.settle(limits.acquire("bench", (cost, REQUEST)), {})
        cache.save(did, CachedPds.found(harness.pds_url))


def _read_each_bucket(harness: Harness) -> None:
    for name in harness.redis.scan_iter(match="media-atproto:budget:*", count=1000):
        harness.redis.hmget(name, ["used", "points", "ends", "shut"])


def _redis_usage(harness: Harness, call: Callable[[], object]) -> _RedisUsage:
    redis = harness.redis
    redis.config_set("latency-tracking-info-percentiles", "100")
    before = redis.info("cpu")
    redis.config_resetstat()
    duration = seconds(call)
    after = redis.info("all")
    commands = [value for name, value in after.items() if name.startswith("cmdstat_")]
    latencies = [value for name, value in after.items() if name.startswith("latency_percentiles_")]
    return _RedisUsage(
        duration,
        cpu=sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys")),
        commands=sum(each["usec"] for each in commands) / 1e6,
        requests=after["total_reads_processed"],
        longest=max(each["p100"] for each in latencies) / 1000,
    )


@contextmanager
def _served(harness: Harness) -> Iterator[httpx.Client]:
    login = ":".join(_LOGIN)
    web = harness.processes.start("web", MEDIA_ATPROTO, "web", "--port", "0", WEB_BASIC_AUTH=login)
    try:
        web.await_output("Serving ")
        url = web.log.read_text().partition("Serving ")[2].strip()
        with httpx.Client(base_url=url, auth=_LOGIN, timeout=120, trust_env=False) as client:
            client.get("/static/style.css").raise_for_status()
            yield client
    finally:
        web.kill()


def _aggregations(harness: Harness) -> int:
    """Return how many aggregations MongoDB has run; counts are aggregations too."""
    status = harness.services.storage.database.client.admin.command("serverStatus")
    return int(status["metrics"]["commands"]["aggregate"]["total"])


def _median(call: Callable[[], object]) -> float:
    call()
    return median(seconds(call) for _ in range(_ROUNDS))
