"""A PDS may redirect to its public blob storage, and to nothing else."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from redis import Redis

from tests.contract.certificates import make_certificate
from tests.contract.pds_calls import KEY, TOKEN
from tests.contract.web_faults import drip_body, drip_headers, flood
from tests.contract.web_server import Fault as WebFault
from tests.contract.web_server import Handler, Site, serving
from worker.core.cid import cid_of_blob
from worker.core.clock import after
from worker.core.errors import MediaError, RateLimitReachedError
from worker.core.net.client import ClientLimits, ClientTransport, open_client
from worker.core.rate_limits import Rates
from worker.operations.audit.findings import Fault
from worker.operations.audit.repo_reader import BlobClients, BlobReader, Waiter
from worker.pds.call_limits import CallLimits
from worker.pds.client import HttpClient, PdsClient
from worker.pds.rate_limiter import NO_LIMITS, HostLimiter, RateLimiter, Workload

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))
_DATA = b"a painting" * 100
_CID = cid_of_blob(_DATA)
_GET_BLOB = f"com.atproto.sync.getBlob?did={KEY.repo}&cid={_CID}"
_LIMITS = ClientLimits(seconds=5, max_bytes=10_000)


@dataclass
class Storage:
    """A PDS, and its blob storage at a host that counts as public; both record requests."""

    pds: Site
    blobs: Site
    tls: ssl.SSLContext
    undo: ExitStack
    limits: ClientLimits = _LIMITS
    held: list[str] = field(default_factory=list)

    def redirect(self, location: str, status: int = 302) -> None:
        """Let the PDS redirect blobs to a URL."""
        self.pds.faults[_GET_BLOB] = redirect_to(location, status)

    def client(self, limiter: HostLimiter = NO_LIMITS) -> PdsClient:
        """Open the client of the PDS."""
        client = PdsClient(
            self.pds.url,
            redirects=self.public_client(),
            limits=CallLimits.equal(self.limits),
            bypass=TOKEN,
            limiter=limiter,
            hold_slot=self.hold_slot,
        )
        return self.undo.enter_context(closing(client))

    def hold_slot(self, step: str) -> AbstractContextManager[None]:
        """Record that a slot of the PDS is held."""
        self.held.append(step)
        return nullcontext()

    def reader(self, limiter: HostLimiter = NO_LIMITS) -> BlobReader:
        """Open the blob reader of an audit."""
        port = urlsplit(self.blobs.url).port or 0
        closing_client = open_client(
            foreign=True, timeout=5, limits=self.limits, networks=_LOOPBACK, port=port, tls=self.tls
        )
        foreign = BlobClients(self.public_client(), closing_client)
        pds = self.client(limiter)
        reader = BlobReader(lambda _: pds, {self.pds.url}, Waiter(sleep=fail), foreign=foreign)
        return self.undo.enter_context(closing(reader))

    def public_client(self) -> HttpClient:
        """Open a client for foreign hosts that takes the port of the storage for 443."""
        port = urlsplit(self.blobs.url).port or 0
        transport = ClientTransport(
            self.limits, foreign=True, networks=_LOOPBACK, port=port, tls=self.tls
        )
        client = HttpClient(transport, httpx.Timeout(5))
        return self.undo.enter_context(closing(client))


def fail(seconds: float) -> None:
    """Wait for nothing."""
    raise AssertionError(f"the audit waits for {seconds} seconds")


def redirect_to(location: str, status: int = 302) -> WebFault:
    """Return an answer that redirects."""

    def answer(to: Handler) -> None:
        to.answer(status, b"", {"Location": location})

    return answer


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server and a client need for TLS."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def storage(contexts: tuple[ssl.SSLContext, ssl.SSLContext], tmp_path: Path) -> Iterator[Storage]:
    """Run a PDS without TLS, and a storage with it."""
    (tmp_path / "blob").write_bytes(_DATA)
    server, trusting = contexts
    with ExitStack() as undo:
        pds = undo.enter_context(serving(tmp_path / "pds"))
        blobs = undo.enter_context(serving(tmp_path, server))
        yield Storage(pds, blobs, trusting, undo)


@pytest.mark.parametrize("status", [302, 307])
def test_redirect_to_the_blob_storage_is_followed_without_a_token(
    storage: Storage, status: int
) -> None:
    """As by a PDS that keeps its blobs in S3."""
    storage.redirect(f"{storage.blobs.url}/blob?signature=abc", status)
    storage.blobs.faults["blob?signature=abc"] = lambda to: to.answer(200, _DATA)
    assert storage.client().get_blob(KEY.repo, _CID) == _DATA
    assert storage.reader().fault(KEY.repo, _CID) is None
    assert len(storage.blobs.server.headers) == 2
    for headers in storage.blobs.server.headers:
        assert not {"authorization", "x-ratelimit-bypass", "cookie"} & headers.keys()
        assert "canary" not in str(headers)


def test_wrong_bytes_behind_a_redirect_are_no_blob(storage: Storage) -> None:
    """The CID verifies them, whichever host has sent them."""
    storage.redirect(f"{storage.blobs.url}/blob")
    storage.blobs.faults["blob"] = lambda to: to.answer(200, _DATA[:-1])
    with pytest.raises(MediaError) as caught:
        storage.client().get_blob(KEY.repo, _CID)
    assert caught.value.code == "pds_answer_garbled"
    assert storage.reader().fault(KEY.repo, _CID) is Fault.BLOB_TRUNCATED


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{plain}/blob",
        "https://127.0.0.1:{plain}/blob",
        "https://user:word@localhost:{tls}/blob",
        "//127.0.0.1:{plain}/blob",
        "/blob",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "https://[::1",
        "https://xn--a.example/blob",
        "https://localhost:99999/blob",
        "",
    ],
)
def test_redirect_elsewhere_is_not_followed(storage: Storage, location: str) -> None:
    """Neither in a sync nor in an audit, in its first and second attempt."""
    plain, tls = urlsplit(storage.pds.url).port, urlsplit(storage.blobs.url).port
    storage.redirect(location.format(plain=plain, tls=tls))
    for read in (storage.client().get_blob, storage.reader().fault):
        with pytest.raises(MediaError):
            read(KEY.repo, _CID)
    for _, path in storage.pds.server.requests:
        assert path.startswith("/xrpc/com.atproto.sync.getBlob?")
    assert storage.blobs.server.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]", "localhost"]
)
def test_redirect_to_a_private_address_is_not_followed(storage: Storage, host: str) -> None:
    """With the client that workers use."""
    storage.redirect(f"https://{host}/blob")
    pds = PdsClient(storage.pds.url)
    with (
        closing(pds),
        closing(BlobReader(lambda _: pds, {storage.pds.url}, Waiter())) as reader,
        pytest.raises(MediaError) as caught,
    ):
        reader.fault(KEY.repo, _CID)
    assert caught.value.code == "pds_unreachable"
    assert "ConnectError" in caught.value.message


def test_redirects_end_after_three(storage: Storage) -> None:
    """A loop, and a chain."""
    storage.redirect(f"{storage.blobs.url}/loop")
    storage.blobs.faults["loop"] = redirect_to("/loop")
    for read in (storage.client().get_blob, storage.reader().fault):
        with pytest.raises(MediaError) as caught:
            read(KEY.repo, _CID)
        assert caught.value.code == "pds_redirected"
    # Once in a sync; an audit makes two attempts.
    assert len(storage.blobs.server.requests) == 3 * 3


@pytest.mark.parametrize("fault", [flood, drip_body, drip_headers])
def test_endless_target_is_cut_off(storage: Storage, fault: WebFault) -> None:
    """By the size and time of a blob, all redirects together; it holds a slot of the PDS."""
    storage.limits = ClientLimits(seconds=0.3, max_bytes=10_000)
    storage.redirect(f"{storage.blobs.url}/endless")
    storage.blobs.faults["endless"] = fault
    with pytest.raises(MediaError) as caught:
        storage.client().get_blob(KEY.repo, _CID)
    assert caught.value.code == "pds_unreachable"
    assert storage.held == ["read", "read"]


def test_missing_blob_behind_a_redirect_is_missing(storage: Storage) -> None:
    """The storage has lost it."""
    storage.redirect(f"{storage.blobs.url}/none")
    with pytest.raises(MediaError) as caught:
        storage.reader().fault(KEY.repo, _CID)
    assert caught.value.code == "pds_404"


def test_blob_reads_of_an_audit_are_charged(storage: Storage, redis: Redis) -> None:
    """To the calls per address, of which saves keep a share; the first and the second attempt."""
    host = f"{urlsplit(storage.pds.url).netloc}"
    rates = Rates.parse(f"{host} requests_5min=4")
    limiter = RateLimiter(redis, rates, reserve=0.5).for_host(host, Workload.BULK)
    storage.pds.faults[_GET_BLOB] = lambda to: to.answer(500)
    reader = storage.reader(limiter)
    with pytest.raises(MediaError) as caught:
        reader.fault(KEY.repo, _CID)
    assert caught.value.code == "pds_500"
    with pytest.raises((AssertionError, RateLimitReachedError)):
        reader.fault(KEY.repo, _CID)
    assert len(storage.pds.server.requests) == 2


def test_audit_of_a_trusted_pds_may_wait_longer_for_many_blobs() -> None:
    """The limits of the PDS allow no more calls; a foreign PDS gains no time."""
    pds = PdsClient("https://pds.example.com")
    for trusted, most in ((set[str](), 600), ({pds.url}, 1100)):
        slept: list[float] = []
        waiter = Waiter(clock=partial(sum, slept), sleep=slept.append)
        with closing(BlobReader(lambda _: pds, trusted, waiter)) as reader:
            reader.expect(KEY.repo, 2000)
            with pytest.raises(RateLimitReachedError):
                waiter.repeat(wait_of(100))
        assert most - 100 <= sum(slept) <= most


def wait_of(seconds: float) -> Callable[[], None]:
    """Return a call that must always wait."""

    def call() -> None:
        raise RateLimitReachedError("spent", until=after(seconds), step="read")

    return call
