"""A web server over a folder that misbehaves where it is told to."""

from __future__ import annotations

import hashlib
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

DRIP_SECONDS = 0.02

Fault = Callable[["Handler"], None]


class WebServer(ThreadingHTTPServer):
    """Serves a folder on a free port of the loopback.

    `faults` maps a file name to what happens instead; `missing` is the status for a file that is
    not there; `requests` are those that came, as method and path; `connections` counts how often a
    client connected; `over` ends every wait.
    """

    daemon_threads = False

    def __init__(self, folder: Path, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.faults: dict[str, Fault] = {}
        self.missing = 404
        self.requests: list[tuple[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.connections = 0
        self.over = threading.Event()
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up, which is what they should do."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD from the folder, with ETag, Last-Modified and Content-Length."""

    protocol_version = "HTTP/1.1"
    server: WebServer

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        """Answer with a file, or misbehave."""
        self.server.requests.append((self.command, self.path))
        self.server.headers.append({k.lower(): v for k, v in self.headers.items()})
        name = unquote(self.path.rpartition("/")[2])
        fault = self.server.faults.get(name)
        if fault:
            fault(self)
        else:
            self.send_stored()

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """Answer with the hash of the body."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, hashlib.sha256(body).hexdigest().encode())

    def send_stored(self) -> None:
        """Send the file as it is in the folder."""
        path = self.server.folder.joinpath(*[unquote(part) for part in self.path.split("/")[1:]])
        if not path.is_file():
            self.answer(self.server.missing)
            return
        status = path.stat()
        self.answer(
            200,
            path.read_bytes(),
            {
                "ETag": f'"{status.st_size:x}-{status.st_mtime_ns:x}"',
                "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            },
        )

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send an answer; `headers` may replace Content-Length, or drop it with an empty text."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang_up(self) -> None:
        """Close the connection after this answer."""
        self.wfile.flush()
        self.close_connection = True

    def drip(self, data: bytes) -> None:
        """Send byte after byte, slowly."""
        for byte in data:
            if self.server.over.wait(DRIP_SECONDS):
                break
            self.wfile.write(bytes((byte,)))
        self.hang_up()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@dataclass(frozen=True, slots=True)
class Site:
    """A running server and where it is."""

    server: WebServer
    url: str
    folder: Path
    faults: dict[str, Fault] = field(default_factory=dict)


@contextmanager
def serving(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Run a server until the block ends, and wait until all its threads have."""
    server = WebServer(folder, tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    host = (
        f"https://localhost:{server.server_port}"
        if tls
        else f"http://127.0.0.1:{server.server_port}"
    )
    try:
        yield Site(server, host, folder, server.faults)
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
