"""A hostile server holds no process, fills no memory and receives no token."""

from __future__ import annotations

import gzip
import hashlib
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.contract.certificates import make_certificate
from tests.contract.pds_calls import KEY, MOOD, TOKEN
from tests.contract.proxy import Reply, open_proxy
from tests.contract.web_faults import drip_body, drip_headers, flood
from tests.contract.web_server import Fault, Handler, Site, serving
from tests.unit.cars import MOODS, framed_block, repo_of
from worker.core.cid import cid_of_blob
from worker.core.errors import MediaError
from worker.core.net.client import LIMITS, ClientLimits, ResponseTooLargeError, open_client
from worker.operations.audit.repo_reader import BlobReader, Waiter
from worker.pds.call_limits import FOREIGN
from worker.pds.client import PdsClient, open_http_client

SIZE = 200_000
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))
_LIMITS = ClientLimits(seconds=30, max_bytes=SIZE)
_CID = cid_of_blob(b"blob")
_BLOB = f"com.atproto.sync.getBlob?did={KEY.repo}&cid={_CID}"
_SHORT = ClientLimits(seconds=0.2, max_bytes=SIZE)


@dataclass(frozen=True, slots=True)
class Target:
    """A web server, and a client that may call it: of a foreign host, or of one of ours."""

    site: Site
    client: httpx.Client

    def get(self, name: str, limits: ClientLimits = _LIMITS) -> bytes:
        """Read a file of the server."""
        return self.client.get(f"{self.site.url}/{name}", extensions={LIMITS: limits}).content


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server and a client need for TLS."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module", params=[True, False], ids=["foreign", "own"])
def target(
    request: pytest.FixtureRequest,
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Target]:
    """Run a server with TLS that misbehaves, and open each kind of client."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "right").write_bytes(bytes(SIZE))
    (folder / "large").write_bytes(bytes(SIZE + 1))
    server, trusting = contexts
    with (
        serving(folder, server) as site,
        open_client(
            foreign=request.param,
            timeout=30,
            limits=_LIMITS,
            networks=_LOOPBACK,
            port=urlsplit(site.url).port or 0,
            tls=trusting,
        ) as client,
    ):
        yield Target(site, client)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Site]:
    """Run a server without TLS."""
    with serving(tmp_path) as site:
        yield site


def bomb(to: Handler) -> None:
    """Send a session with 64 MiB of spaces as 64 KiB."""
    packed = gzip.compress(b" " * 2**26 + b'{"active": true}')
    to.answer(200, packed, {"Content-Encoding": "gzip", "Content-Type": "application/json"})


def endless_json(to: Handler) -> None:
    """Send text as long as the client reads."""
    to.send_response(200)
    to.send_header("Content-Type", "application/json")
    to.end_headers()
    while not to.server.over.is_set():
        to.wfile.write(b'{"a":' * 10_000)


def test_response_within_its_limits_is_read_whole(target: Target) -> None:
    """To the last byte."""
    assert len(target.get("right")) == SIZE


@pytest.mark.parametrize("fault", [drip_headers, drip_body])
def test_slow_response_ends_at_the_deadline(target: Target, fault: Fault) -> None:
    """Each byte arrives long before the timeout of a read."""
    target.site.faults["slow"] = fault
    with pytest.raises(httpx.ReadTimeout):
        target.get("slow", _SHORT)


def test_too_large_response_is_cut_off(target: Target) -> None:
    """Whether it says how large it is, or has no end."""
    target.site.faults["endless"] = flood
    for name in ("large", "endless"):
        with pytest.raises(ResponseTooLargeError):
            target.get(name)


def test_compressed_response_is_not_decoded(target: Target) -> None:
    """It was not requested, and could be a thousand times as large."""
    target.site.faults["bomb"] = bomb
    with pytest.raises(httpx.DecodingError, match="not requested"):
        target.get("bomb")
    assert target.site.server.headers[-1]["accept-encoding"] == "identity"


def test_cookies_are_not_kept(target: Target) -> None:
    """They would fill the memory of the process, and be sent to other hosts of a domain."""
    cookies = {"Set-Cookie": "name=" + "a" * 4000}
    target.site.faults["cookie"] = lambda to: to.answer(200, b"", cookies)
    for _ in range(2):
        target.get("cookie")
    assert not target.client.cookies
    assert "cookie" not in target.site.server.headers[-1]


@pytest.mark.parametrize("location", ["https://xn--a.example/", "https://[::1", "\x80", "//xn--0/"])
def test_redirect_to_an_invalid_host_raises_nothing_unexpected(
    target: Target, location: str
) -> None:
    """The HTTP client decodes the host of a redirect, even of one that is not followed."""
    target.site.faults["odd"] = lambda to: to.answer(302, b"", {"Location": location})
    assert target.get("odd") == b""


@pytest.fixture(params=[True, False], ids=["tls", "plain"])
def slow(
    request: pytest.FixtureRequest, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> Iterator[Reader]:
    """Run a server that reads slowly, with and without TLS."""
    server, trusting = contexts
    with slow_reader(server if request.param else None) as port:
        scheme = "https" if request.param else "http"
        yield Reader(f"{scheme}://localhost:{port}/", trusting)


@dataclass(frozen=True, slots=True)
class Reader:
    """A server that reads slowly and never answers; the client trusts `tls`."""

    url: str
    tls: ssl.SSLContext

    def post(self, size: int, *, timeout: float, limits: ClientLimits) -> None:
        """Send a body; `timeout` limits each write and read."""
        with open_client(foreign=False, timeout=timeout, limits=limits, tls=self.tls) as client:
            client.post(self.url, content=bytes(size))


def test_slowly_read_upload_ends_at_the_deadline(slow: Reader) -> None:
    """Each part of it is accepted long before the timeout of a write."""
    with pytest.raises(httpx.WriteTimeout):
        slow.post(2**25, timeout=30, limits=_SHORT)


def test_slowly_read_upload_may_take_longer_than_a_write(slow: Reader) -> None:
    """It is sent whole, and then there is no answer."""
    with pytest.raises(httpx.ReadTimeout):
        slow.post(2**23, timeout=1, limits=_LIMITS)


@contextmanager
def slow_reader(tls: ssl.SSLContext | None) -> Iterator[int]:
    """Listen, and read 16 KiB after each 5 ms of what a client sends; yield the port."""
    over = threading.Event()

    def read(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with suppress(ssl.SSLError), tls_of(connection) as stream:
            while not over.wait(0.005) and stream.recv(2**14):
                pass

    def tls_of(connection: socket.socket) -> socket.socket:
        return tls.wrap_socket(connection, server_side=True) if tls else connection

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        thread = threading.Thread(target=read, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("size", [1, 2**16, 2**24])
def test_upload_arrives_whole(target: Target, plain: Site, size: int) -> None:
    """However many parts of it are accepted."""
    content = random.Random(1).randbytes(size)
    answer = target.client.post(f"{target.site.url}/", content=content)
    assert answer.text == hashlib.sha256(content).hexdigest()
    with open_client(foreign=False, timeout=30, limits=_LIMITS) as client:
        answer = client.post(f"{plain.url}/", content=content)
    assert answer.text == hashlib.sha256(content).hexdigest()


def test_token_is_not_sent_to_the_target_of_a_redirect(plain: Site) -> None:
    """Nor is anything else."""
    with open_proxy(plain.url) as proxy, closing(PdsClient(proxy.url)) as pds:
        for status in (302, 307):
            proxy.answer(Reply(status, headers={"Location": f"{plain.url}/target"}))
            for call in (pds.is_active, partial(pds.put_record, key=KEY, record=MOOD, swap=None)):
                with pytest.raises(MediaError) as caught:
                    call(TOKEN)
                assert caught.value.code == "pds_redirected"
        assert plain.server.connections == 0


@pytest.mark.parametrize(
    ("fault", "code"), [(bomb, "pds_answer_garbled"), (endless_json, "pds_unreachable")]
)
def test_hostile_pds_does_not_fill_the_memory(plain: Site, fault: Fault, code: str) -> None:
    """An ordinary call has a limit of 2 MB, after decoding."""
    plain.faults["com.atproto.server.getSession"] = fault
    with closing(PdsClient(plain.url)) as pds, pytest.raises(MediaError) as caught:
        pds.is_active(TOKEN)
    assert caught.value.code == code


def endless_repo(to: Handler) -> None:
    """Send a repo of the same block for as long as it is read."""
    whole = repo_of({f"{MOODS}/a": {"text": "x" * 10_000}})
    to.answer(200, headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    with suppress(OSError):
        to.wfile.write(b"%x\r\n%b\r\n" % (len(whole), whole))
        block = framed_block({"text": "x" * 10_000})
        while not to.server.over.is_set():
            to.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))


@pytest.mark.parametrize(
    ("fault", "error"), [(endless_repo, "ResponseTooLargeError"), (flood, "damaged repo")]
)
def test_endless_repo_is_cut_off(plain: Site, fault: Fault, error: str) -> None:
    """It has a limit of its own, which is lower for a foreign PDS; and zeros are no repo."""
    plain.faults[f"com.atproto.sync.getRepo?did={KEY.repo}"] = fault
    limits = replace(FOREIGN, repo=_LIMITS)
    with (
        closing(PdsClient(plain.url, limits=limits)) as pds,
        pytest.raises(MediaError, match=error),
    ):
        pds.get_repo(KEY.repo)


def test_endless_blob_is_cut_off_in_an_audit(plain: Site) -> None:
    """In the first and in the second attempt to read it."""
    plain.faults[_BLOB] = flood
    with (
        closing(PdsClient(plain.url)) as pds,
        closing(BlobReader(lambda _: pds, {plain.url}, Waiter())) as blobs,
        pytest.raises(MediaError, match="ResponseTooLargeError"),
    ):
        blobs.fault(KEY.repo, _CID)
    assert len(plain.server.requests) == 2


def test_audit_reads_no_blob_from_our_network(plain: Site) -> None:
    """Unless the PDS is our own."""
    with (
        closing(PdsClient(plain.url)) as pds,
        closing(BlobReader(lambda _: pds, set(), Waiter())) as blobs,
        pytest.raises(MediaError, match="UnsupportedProtocol"),
    ):
        blobs.fault(KEY.repo, _CID)
    assert plain.server.connections == 0


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_foreign_host_with_a_private_address_is_not_called(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], tmp_path: Path, host: str
) -> None:
    """Whatever its name, and whatever DNS said when the name was checked."""
    with serving(tmp_path, contexts[0]) as site:
        port = urlsplit(site.url).port or 0
        with (
            open_client(foreign=True, timeout=5, limits=_LIMITS, port=port) as client,
            pytest.raises(httpx.ConnectError, match="not a public address"),
        ):
            client.get(f"https://{host}:{port}/")
        assert site.server.connections == 0


def test_foreign_host_is_not_called_without_tls_or_at_another_port(plain: Site) -> None:
    """A token would be readable, or another service of the host would be called."""
    with (
        closing(open_http_client(foreign=True)) as request,
        closing(PdsClient(plain.url, request=request)) as pds,
        pytest.raises(MediaError, match="UnsupportedProtocol"),
    ):
        pds.get_record(KEY)
    with (
        open_client(foreign=True, timeout=5, limits=_LIMITS) as client,
        pytest.raises(httpx.UnsupportedProtocol, match="port 443"),
    ):
        client.get("https://pds.example.com:8443")
    assert plain.server.connections == 0


def test_proxy_of_the_environment_receives_nothing(
    plain: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would see passwords, and resolve names without our checks."""
    with serving(tmp_path) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with open_client(foreign=False, timeout=5, limits=_LIMITS) as client:
            assert client.get(f"{plain.url}/none").status_code == 404
        assert (len(plain.server.requests), proxy.server.requests) == (1, [])
