"""Connections that take the threads and open files of a worker by its metrics server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from tests.waiting import wait_for
from worker.telemetry.metrics_server import MetricsHandler, MetricsServer, serve_metrics

_HALF = b"GET /metrics HTTP/1.1\r\nHost: worker\r\nX-Slow: "


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """Serve a figure on a free port."""
    registry = CollectorRegistry()
    Counter("figure", "A figure.", registry=registry)
    served = serve_metrics("127.0.0.1", 0, registry)
    assert isinstance(served, MetricsServer)
    yield served
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize("sent", [b"", _HALF])
def test_metrics_are_served_while_100_connections_wait(server: MetricsServer, sent: bytes) -> None:
    """They are idle, or have sent a half of their headers; most are closed."""
    threads = threading.active_count()
    with ExitStack() as undo:
        for _ in range(100):
            held = socket.create_connection(("127.0.0.1", server.server_port), 60)
            undo.enter_context(held).sendall(sent)
        answer = httpx.get(f"http://127.0.0.1:{server.server_port}/metrics", trust_env=False)
        assert "figure_total" in answer.text
        most = threads + MetricsServer.max_connections
        wait_for(lambda: threading.active_count() <= most, within=30, what="threads to end")


class ImpatientHandler(MetricsHandler):
    """Waits for a tenth of a second only."""

    timeout = 0.1


def test_idle_connection_is_closed(
    server: MetricsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a line in the log, which it could fill."""
    server.RequestHandlerClass = ImpatientHandler
    with socket.create_connection(("127.0.0.1", server.server_port), 60) as held:
        held.sendall(_HALF)
        assert held.recv(1) == b""
    assert capfd.readouterr().err == ""
