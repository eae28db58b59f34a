"""Connections that keep others from the status page, and a cookie that travels without TLS."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection

import httpx
import pytest
import uvicorn
from cryptography.fernet import Fernet
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tests.unit.test_settings import GOOD
from tests.webpage import WebPage, serving
from worker.core.secrets import Secret, Vault
from worker.web.connections import LimitedProtocol
from worker.web.forms import Forms

_HALF = b"GET /healthz HTTP/1.1\r\nHost: page\r\nX-Slow: "
_MEGABYTE = b"x" * 2**20


class QuickProtocol(LimitedProtocol):
    """Like that of the page, with small limits."""

    max_connections = 3
    request_seconds = 0.2


@pytest.fixture(scope="module")
def page(
    bare_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebPage]:
    """The page, without services, with 1024 open files at most."""
    with serving({**bare_environ, **GOOD}, tmp_path_factory.mktemp("page")) as served:
        resource.prlimit(served.popen.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        yield served


@pytest.mark.parametrize("sent", [b"", _HALF, _HALF.replace(b"GET", b"POST")])
def test_health_check_is_answered_while_300_connections_wait(page: WebPage, sent: bytes) -> None:
    """They are idle, or have sent a half of their headers."""
    url = httpx.URL(page.url)
    with ExitStack() as undo:
        for _ in range(300):
            held = undo.enter_context(socket.create_connection((url.host, url.port or 80)))
            held.sendall(sent)
        for path, status in (("/healthz", 200), ("/", 401)):
            answer = httpx.get(f"{page.url}{path}", timeout=60, trust_env=False)
            assert answer.status_code == status
    assert "Too many open files" not in page.text


async def respond(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to `/large` with more than fits into buffers, else with one line."""
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.disconnect":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(64 if scope["path"] == "/large" else 0):
        await send({"type": "http.response.body", "body": _MEGABYTE, "more_body": True})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def quick_server() -> Iterator[int]:
    """Serve `respond` with small limits; return the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            respond, http=QuickProtocol, lifespan="off", log_level="critical", ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.parametrize(
    "sent", [b"", _HALF, b"POST / HTTP/1.1\r\nHost: page\r\nContent-Length: 9\r\n\r\n1"]
)
def test_connection_without_a_complete_request_is_closed(sent: bytes) -> None:
    """However much of it has been sent."""
    with quick_server() as port, socket.create_connection(("127.0.0.1", port), 60) as held:
        held.sendall(sent)
        assert ended(held)


def test_connection_that_repeats_requests_is_kept() -> None:
    """Those of a browser, for example."""
    with quick_server() as port, closing(HTTPConnection("127.0.0.1", port, timeout=60)) as kept:
        kept.connect()
        connected = kept.sock
        for _ in range(3):
            kept.request("GET", "/")
            assert kept.getresponse().read() == b"ok"
        assert kept.sock is connected


def test_connections_that_read_no_response_give_way() -> None:
    """A response that waits for its client takes no place from others."""
    with quick_server() as port, ExitStack() as undo:
        for _ in range(2 * QuickProtocol.max_connections):
            held = undo.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            held.sendall(b"GET /large HTTP/1.1\r\nHost: page\r\n\r\n")
            assert held.recv(1)
        answer = httpx.get(f"http://127.0.0.1:{port}/", timeout=60, trust_env=False)
        assert answer.text == "ok"


def ended(connection: socket.socket) -> bool:
    """Wait until the server closes a connection; return whether it sent nothing before."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    ("scheme", "host", "secure"),
    [
        ("http", "media.example", True),  # a proxy that the server does not know ended TLS
        ("http", "media.example:8700", True),
        ("http", "10.0.0.5:8700", True),
        ("http", "localhost.example", True),
        ("http", "127.0.0.1.example", True),
        ("http", "", True),
        ("https", "localhost", True),
        ("http", "localhost:8700", False),
        ("http", "127.0.0.1:8700", False),
        ("http", "[::1]:8700", False),
    ],
)
def test_cookie_is_sent_without_tls_on_this_machine_alone(
    scheme: str, host: str, *, secure: bool
) -> None:
    """Whether the request shows that the browser used TLS or not."""
    forms = Forms(Vault([Secret(Fernet.generate_key().decode())]))
    headers = [(b"host", host.encode())] if host else []
    scope = {"type": "http", "scheme": scheme, "path": "/item", "query_string": b""}
    request = Request({**scope, "headers": headers, "server": ("172.18.0.9", 8700)})
    answer = forms.respond(request, PlainTextResponse)
    assert ("; secure" in answer.headers["set-cookie"].lower()) is secure
