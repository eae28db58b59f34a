"""A proxy in front of the PDS: it counts the calls, and can answer some of them itself.

A real HTTP server on the loopback, so that a client meets bad answers the way it would in life.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_NOT_FORWARDED = frozenset({"host", "connection", "transfer-encoding"})
_ONES_OWN = frozenset({"date", "server", "connection", "transfer-encoding", "content-length"})


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came in."""

    nsid: str
    authorization: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in place of the PDS's; with `cut` the connection ends before the body does.

    With `carried_out` the PDS does what was asked, and the caller does not hear of it. `quoting`
    makes the body of the request, given as its headers and body in one text.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    carried_out: bool = False
    quoting: Callable[[str], str] | None = None


class Proxy:
    """What the proxy has seen, and what it is to answer by itself."""

    def __init__(self, upstream: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._upstream = urlsplit(upstream)
        self._replies: dict[str, tuple[Reply, str]] = {}
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._answers: Counter[tuple[str, int]] = Counter()
        self._under_way: Counter[str] = Counter()
        self._drops: tuple[int, float] | None = None
        self.dripped = 0

    @property
    def calls(self) -> list[Call]:
        """All calls so far."""
        with self._lock:
            return list(self._calls)

    def count(self, method: str = "") -> int:
        """Return how many calls came in, of one method (`createSession`) or of all."""
        return sum(call.nsid.endswith(method) for call in self.calls)

    def answered(self, status: int) -> dict[str, int]:
        """Return how many calls of each method were answered with a status."""
        with self._lock:
            return {nsid: n for (nsid, own), n in self._answers.items() if own == status}

    def under_way(self, method: str) -> int:
        """Return how many calls of one method have come in and have not been answered yet."""
        with self._lock:
            return sum(count for nsid, count in self._under_way.items() if nsid.endswith(method))

    def forget_calls(self) -> None:
        """Count from nothing again."""
        with self._lock:
            self._calls.clear()

    def answer(self, reply: Reply, method: str = "", *, about: str = "") -> None:
        """From now on give this answer to calls of one method, or to all.

        Only those whose path or body has a match of the regular expression `about`.
        """
        self._replies[method] = reply, about

    def drip(self, *, pieces: int, pause: float) -> None:
        """From now on send each answer in so many pieces, with so many seconds in between."""
        self._drops = (pieces, pause)

    def be_honest(self) -> None:
        """From now on pass every call on."""
        self._replies.clear()
        self._drops = None

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        nsid = urlsplit(request.path).path.removeprefix("/xrpc/")
        with self._lock:
            authorization = request.headers["authorization"]
            self._calls.append(Call(nsid, authorization, dict(request.headers)))
            self._under_way[nsid] += 1
        try:
            self._answer(request, nsid)
        except (OSError, http.client.HTTPException):
            request.close_connection = True  # the PDS is gone, or our caller
        finally:
            with self._lock:
                self._under_way[nsid] -= 1

    def _answer(self, request: BaseHTTPRequestHandler, nsid: str) -> None:
        body = request.rfile.read(int(request.headers["content-length"] or 0))
        own = self._own_reply(nsid, f"{request.path} {body.decode(errors='replace')}")
        if own is None or own.carried_out:
            answer = self._forward(request, body)
        if own and own.quoting:
            said = own.quoting(f"{request.headers}{body.decode(errors='replace')}")
            own = replace(own, body=said.encode())
        reply = own or answer
        with self._lock:
            self._answers[nsid, reply.status] += 1
        if self._drops is None:
            _send(request, reply)
        else:
            _send(request, reply, *self._drops)
            self.dripped += 1

    def _own_reply(self, nsid: str, text: str) -> Reply | None:
        for method, (reply, about) in list(self._replies.items()):
            if nsid.endswith(method) and re.search(about, text):
                return reply
        return None

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _NOT_FORWARDED}
        address = (self._upstream.hostname or "", self._upstream.port)
        with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in _ONES_OWN}
            return Reply(answer.status, answer.read(), kept.pop("Content-Type", ""), kept)


@contextmanager
def open_proxy(upstream: str) -> Iterator[Proxy]:
    """Run a proxy in front of a PDS; close its clients before it ends."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.proxy = Proxy(upstream, server.server_port)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield server.proxy
        finally:
            server.shutdown()
            serving.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64
    proxy: Proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms for its header to be acknowledged
    timeout = 30
    server: _Server

    def do_GET(self) -> None:
        self.server.proxy.serve(self)

    def do_POST(self) -> None:
        self.server.proxy.serve(self)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def _send(request: BaseHTTPRequestHandler, reply: Reply, pieces: int = 1, pause: float = 0) -> None:
    request.send_response(reply.status)
    for name, value in reply.headers.items():
        request.send_header(name, value)
    if reply.content_type:
        request.send_header("Content-Type", reply.content_type)
    missing = 100 if reply.cut else 0
    request.send_header("Content-Length", str(len(reply.body) + missing))
    request.end_headers()
    size = max(1, -(-len(reply.body) // pieces))
    for start in range(0, len(reply.body), size):
        if start:
            time.sleep(pause)
        request.wfile.write(reply.body[start : start + size])
    request.close_connection = reply.cut
