"""Serve metrics by HTTP to a limited number of connections.

The server of prometheus_client has a thread for each connection, without a limit or a timeout. It
runs in the main process of a worker, which must not run out of threads and open files.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer


class MetricsHandler(WSGIRequestHandler):
    """Handles one request, and logs nothing."""

    timeout = 10.0  # seconds for each read and write

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        pass


class MetricsServer(ThreadingWSGIServer):
    """Closes the oldest connection when there are too many."""

    max_connections = 16
    request_queue_size = 128  # connections that the system keeps for us

    def __init__(self, *args: Any) -> None:
        self._connections: deque[Any] = deque()
        self._lock = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.append(request)
            if len(self._connections) > self.max_connections:
                # Its thread then ends; the client may have closed it already.
                with suppress(OSError):
                    self._connections.popleft().shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        with self._lock:
            if request in self._connections:
                self._connections.remove(request)
            super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print an error, unless it is that a connection ended early."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Ipv6Server(MetricsServer):
    address_family = socket.AF_INET6


def serve_metrics(host: str, port: int, registry: CollectorRegistry) -> WSGIServer:
    """Start a server in a thread, and return it; raises OSError."""
    server_class = _Ipv6Server if ":" in host else MetricsServer
    app = make_wsgi_app(registry)
    server = make_server(host, port, app, server_class, handler_class=MetricsHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
