"""An endpoint for the real Sentry SDK: takes envelopes in, and keeps the events that are in them.

Source: https://develop.sentry.dev/sdk/data-model/envelopes/
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import wait_for

KEY = "c0ffee00c0ffee00c0ffee00c0ffee00"
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Event:
    """An event as Sentry gets it."""

    body: Mapping[str, Any]

    @property
    def tags(self) -> Mapping[str, str]:
        """Return its tags."""
        tags: Mapping[str, str] = self.body.get("tags", {})
        return tags

    @property
    def error(self) -> Mapping[str, Any]:
        """Return the error that was raised last."""
        error: Mapping[str, Any] = self.body["exception"]["values"][-1]
        return error

    @property
    def group(self) -> tuple[str, ...]:
        """Return what Sentry groups by: the fingerprint, or else the error and where it was."""
        if "fingerprint" in self.body:
            return tuple(self.body["fingerprint"])
        frames = self.error["stacktrace"]["frames"]
        own = [f"{frame['module']}:{frame['function']}" for frame in frames if frame["in_app"]]
        return (self.error["type"], *own)


class SentryServer:
    """What has come in; held back, it answers nobody until it is let go."""

    def __init__(self, port: int) -> None:
        self.dsn = f"http://{KEY}@127.0.0.1:{port}/7"
        self.is_down = False
        self.bodies: list[bytes] = []
        self._events: list[Event] = []
        self._open = threading.Event()
        self._open.set()

    @property
    def events(self) -> list[Event]:
        """All events so far, in their order."""
        return list(self._events)

    def about(self, item: object) -> list[Event]:
        """Return the events that are tagged with an item's id."""
        return [event for event in self.events if event.tags.get("id") == str(item)]

    def wait_for(self, item: object) -> Event:
        """Wait for an event about an item; return the first."""
        (event, *_) = wait_for(
            lambda: self.about(item), within=_PATIENCE, what=f"an event about {item}"
        )
        return event

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Answer nobody until the block ends."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def take(self, body: bytes) -> None:
        """Take in one envelope."""
        self._open.wait(_PATIENCE)
        self.bodies.append(body)
        self._events += [Event(item) for item in _events_in(body)]


def _events_in(envelope: bytes) -> Iterator[dict[str, Any]]:
    _header, rest = envelope.split(b"\n", 1)
    while rest.strip():
        line, rest = rest.split(b"\n", 1)
        header = json.loads(line)
        length = header.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
        payload, rest = rest[:length], rest[length:].removeprefix(b"\n")
        if header["type"] == "event":
            yield json.loads(payload)


@contextmanager
def sentry_server() -> Iterator[SentryServer]:
    """Run an endpoint on the loopback."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.sentry = SentryServer(server.server_port)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield server.sentry
        finally:
            server.shutdown()
            serving.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    sentry: SentryServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.sentry.is_down:
            self.close_connection = True
            return
        assert self.headers["content-encoding"] == "gzip"
        self.server.sentry.take(gzip.decompress(body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""
