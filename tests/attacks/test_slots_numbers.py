"""Numbers, dates, lists and trees of a hostile PDS: none raises, repeats or multiplies."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from uuid import uuid4

import pytest
from redis import Redis

from tests.contract.proxy import Proxy, Reply, open_proxy
from tests.unit.cars import DID, MOODS, Car, entry, node
from worker.core.cid import cid_of_blob
from worker.core.clock import after, http_timestamp, rfc3339
from worker.core.documents import Account
from worker.core.errors import TransientError
from worker.core.rate_limits import REQUEST, Rates
from worker.core.records import RemoteRecord, UploadedBlob
from worker.core.secrets import Secret
from worker.dev.stack import Stack
from worker.media.validation import BlobRule, Violation, check_blob
from worker.pds.client import PdsClient
from worker.pds.identity import StaticPdsResolver
from worker.pds.rate_limiter import RateLimiter, Workload
from worker.pds.repo import Repo
from worker.pds.repo_snapshot import RepoDamagedError, RepoSnapshot
from worker.pds.routing import PdsHost, PdsHosts
from worker.pds.sessions import Sessions
from worker.services import Services
from worker.sync.blobs import Content, upload_blob

HUGE = "9" * 4000
DATES = (
    "Fri, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Fri, 01 Jan 2020 00:00:00 +99999999999999999999",
    "Fri, 01 Jan 99999 00:00:00 GMT",
)


@pytest.fixture(scope="module")
def proxy(stack: Stack) -> Iterator[Proxy]:
    """Return a PDS that the test controls."""
    with open_proxy(stack.environment["PDS_URL"]) as opened:
        yield opened


@pytest.mark.parametrize("text", DATES)
def test_date_beyond_the_calendar_is_no_date(text: str) -> None:
    """The parser of the standard library raises OverflowError for some."""
    assert http_timestamp(text) is None


@pytest.mark.parametrize("seconds", [1e300, -1e300, float("inf"), float("-inf"), float("nan")])
def test_time_beyond_the_calendar_is_a_time(seconds: float) -> None:
    """Such as one computed from a value in Redis."""
    assert rfc3339(after(seconds))


@pytest.mark.parametrize(
    "headers",
    [
        {"ratelimit-policy": f"{HUGE};w=3600", "ratelimit-remaining": HUGE},
        {"ratelimit-policy": "3000;w=1e300", "ratelimit-remaining": "1"},
        {"ratelimit-policy": "3000;w=nan", "ratelimit-remaining": "-1"},
        {"ratelimit-policy": "-3000;w=-300", "ratelimit-remaining": "1"},
        {"ratelimit-policy": "3000;w=300", "ratelimit-remaining": "1", "ratelimit-reset": "nan"},
        {"ratelimit-policy": "3000;w=300", "ratelimit-remaining": "1", "ratelimit-reset": "1e300"},
        *({"ratelimit-policy": "3000;w=300", "date": date} for date in DATES),
    ],
)
def test_absurd_headers_leave_the_budget_as_it_is(redis: Redis, headers: dict[str, str]) -> None:
    """They are no headers of a rate limit."""
    host = f"{uuid4().hex}.example"
    limiter = RateLimiter(redis, Rates.parse("reference"), reserve=0.2)
    limits = limiter.for_host(host, Workload.LIVE)
    limits.settle(limits.acquire("read", (REQUEST,)), {"ratelimit-reset": "1", **headers})
    (bucket,) = (each for each in limiter.buckets() if each.host == host)
    assert (bucket.used, bucket.points) == (1, 3000)
    redis.delete(f"media-atproto:budget:{host}|requests_5min|")


def test_planted_times_of_a_budget_are_ignored(redis: Redis) -> None:
    """The list of budgets is read by the status page and the metrics."""
    host = f"{uuid4().hex}.example"
    name = f"media-atproto:budget:{host}|requests_5min|"
    redis.hset(name, mapping={"used": "inf", "points": "nan", "ends": "1e300", "shut": "1e14"})
    limiter = RateLimiter(redis, Rates.parse("reference"), reserve=0.2)
    assert [each for each in limiter.buckets() if each.host == host] == []
    redis.delete(name)


class EndlessPds(PdsClient):
    """A PDS whose lists have no end: `cursors` and `pages` are repeated."""

    def __init__(self, cursors: list[str], pages: list[list[str]]) -> None:
        super().__init__("http://127.0.0.1:9")
        self.asked = 0
        self._cursors = cursors
        self._pages = pages

    def list_records(
        self, repo: str, collection: str, cursor: str | None = None, *, ascending: bool = False
    ) -> tuple[list[RemoteRecord], str | None]:
        """Return the next page."""
        rkeys = self._pages[self.asked % len(self._pages)]
        following = self._cursors[self.asked % len(self._cursors)]
        self.asked += 1
        records = [RemoteRecord(f"at://{repo}/{collection}/{rkey}", "cid", {}) for rkey in rkeys]
        return records, following


@pytest.mark.parametrize(
    ("cursors", "pages"),
    [
        (["same"], [["b"], ["a"]]),
        (["1", "2"], [["b", "a"]]),
        (["1", "2"], [["d", "c"], ["b", "a"]]),
        (["1", "2", "3"], [[f"{999 - number}"] for number in range(900)]),
    ],
    ids=["the same cursor", "the same page", "pages in turn", "tiny pages"],
)
def test_list_without_end_is_an_error(
    shared_services: Services, redis: Redis, cursors: list[str], pages: list[list[str]]
) -> None:
    """Nothing on a PDS makes a worker read the same again and again."""
    with closing(EndlessPds(cursors, pages)) as pds:
        host = PdsHost(pds, Sessions(redis, shared_services.pds.vault, pds, parked=60))
        hosts = PdsHosts(StaticPdsResolver(pds.url), lambda _url: host)
        repo = Repo(hosts, Account("someone", DID, "someone.test", Secret("x")))
        with pytest.raises(TransientError, match="without end") as caught:
            list(repo.records(MOODS))
        assert caught.value.code == "pds_answer_garbled"
        assert pds.asked <= 21


@pytest.mark.parametrize("expiry", ["9" * 400, "-1e999", "NaN", "1e999"])
def test_token_that_expires_beyond_all_numbers_is_a_token(
    shared_services: Services, redis: Redis, proxy: Proxy, shared_user: Account, expiry: str
) -> None:
    """The PDS says when it does not take it any more."""
    claims = base64.urlsafe_b64encode(b'{"exp":%s}' % expiry.encode()).decode().rstrip("=")
    account = replace(shared_user, did=f"did:plc:{uuid4().hex[:24]}")
    tokens = {"accessJwt": f"e30.{claims}.c2ln", "refreshJwt": "x", "did": account.did}
    proxy.answer(Reply(200, json.dumps(tokens).encode()), "Session")
    with closing(PdsClient(proxy.url)) as pds:
        sessions = Sessions(redis, shared_services.pds.vault, pds, parked=60)
        for _ in range(2):
            assert sessions.get(account).access.reveal() == tokens["accessJwt"]
    for name in redis.scan_iter(f"*{account.did}*"):
        redis.delete(name)


def test_size_that_no_document_can_hold_is_refused() -> None:
    """In the answer to an upload, and in a record of another program."""
    content = Content(b"bytes", "image/png", source="x")
    cid = cid_of_blob(content.data)
    with pytest.raises(TransientError) as caught:
        upload_blob(content, BlobRule(), lambda data, mime: UploadedBlob(cid, mime, 10**30))
    assert caught.value.code == "upload_damaged"
    blob = {"$type": "blob", "ref": {"$link": cid}, "mimeType": "image/png", "size": 2**64 - 1}
    with pytest.raises(Violation):
        check_blob(BlobRule(), blob, "thumbnail")


def test_record_with_many_keys_is_decoded_once() -> None:
    """Each decoded copy would take memory, of which the PDS pays a few bytes."""
    car = Car()
    record = car.add({"$type": MOODS, "ref": "1", "text": "x" * 10_000})
    keys = [f"{MOODS}/{number:05}" for number in range(5000)]
    with pytest.raises(RepoDamagedError, match="name the same records too often"):
        RepoSnapshot.read(DID, [car.commit(car.add(node([entry(k, record) for k in keys])))])


def test_records_of_a_repo_are_not_kept_decoded() -> None:
    """Each empty array has 1 byte in the repo, and 64 bytes in memory."""
    car = Car()
    records = [car.add({"x": number, "y": [[]] * 100_000}) for number in range(3)]
    entries = [entry(f"{MOODS}/{number}", cid) for number, cid in enumerate(records)]
    file = car.commit(car.add(node(entries)))
    tracemalloc.start()
    found = list(RepoSnapshot.read(DID, [file]).records(MOODS).values())
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 3
    assert kept < 3_000_000


@pytest.mark.parametrize("place", ["record", "node", "commit", "header"])
def test_too_large_block_is_not_decoded(place: str) -> None:
    """It would need gigabytes of memory."""
    car, junk = Car(), {"junk": bytes(2**20)}
    record = car.add({"x": 1} | (junk if place == "record" else {}))
    tree = {**node([entry(f"{MOODS}/1", record)]), **(junk if place == "node" else {})}
    file = car.commit(car.add(tree), **(junk if place == "commit" else {}))
    if place == "header":
        file = car.file(b"x" * 2**20)
    with pytest.raises(RepoDamagedError, match=r"too large|header"):
        RepoSnapshot.read(DID, [file]).records(MOODS)


def test_node_that_occurs_twice_is_no_tree() -> None:
    """An empty node could be large, and be read again for each entry."""
    car = Car()
    value, empty = car.add({"x": 1}), car.add({**node([]), "junk": "x" * 10_000})
    entries = [entry(f"{MOODS}/{number}", value, right=empty) for number in range(9)]
    with pytest.raises(RepoDamagedError, match="is not a tree"):
        RepoSnapshot.read(DID, [car.commit(car.add(node(entries)))])


def test_key_that_is_longer_than_a_key_is_malformed() -> None:
    """A tree repeats the beginning of a key at no cost: each entry would copy it."""
    car = Car()
    tree = car.add(node([entry(f"{'x' * 2000}/a", car.add({"x": 1}))]))
    with pytest.raises(RepoDamagedError, match="malformed"):
        RepoSnapshot.read(DID, [car.commit(tree)])
