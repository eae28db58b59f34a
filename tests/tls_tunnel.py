"""TLS in front of a service that speaks none: the wheel's Valkey is built without it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

_CHUNK = 65_536


@contextmanager
def tls_tunnel(context: ssl.SSLContext, port: int) -> Iterator[int]:
    """Listen with TLS on a port of the loopback, which is given, and pass on to another."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.context, server.target = context, port
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            serving.join()


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    context: ssl.SSLContext
    target: int


class _Handler(BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with suppress(OSError):  # a client that does not trust us hangs up
            client = self.server.context.wrap_socket(self.request, server_side=True)
            with client, socket.create_connection(("127.0.0.1", self.server.target)) as service:
                up = threading.Thread(target=_pass_on, args=(client, service), daemon=True)
                up.start()
                _pass_on(service, client)
                up.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
