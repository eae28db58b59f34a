"""Connections with one deadline for a whole exchange, however slowly the other side drips.

httpcore hands the timeout of a request, unchanged, to every read and write of its connection:
a `Deadline` passed as that timeout is still one when it arrives here, and is cut to the time
that is left.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore


class Deadline(float):
    """A timeout for one read or write, in seconds, that ends at a moment of `time.monotonic`."""

    __slots__ = ("end",)
    end: float

    def __new__(cls, seconds: float, end: float) -> Deadline:
        """Return a timeout of `seconds` that never goes past `end`."""
        deadline = super().__new__(cls, seconds)
        deadline.end = end
        return deadline


def _left(timeout: float | None, expired: type[httpcore.TimeoutException]) -> float | None:
    """Return what is left of a timeout; raises `expired` when that is nothing."""
    if not isinstance(timeout, Deadline):
        return timeout
    left = timeout.end - time.monotonic()
    if left <= 0:
        raise expired("the deadline of the whole exchange has passed")
    return min(float(timeout), left)


class DeadlineStream(httpcore.NetworkStream):
    """A connection that keeps to the deadline of the request it carries."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read up to `max_bytes`."""
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of `buffer`."""
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return this connection under TLS."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection knows of itself."""
        return self._stream.get_extra_info(info)


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections of another backend that keep to deadlines."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Open a connection."""
        left = _left(timeout, httpcore.ConnectTimeout)
        stream = self._backend.connect_tcp(host, port, left, local_address, socket_options)
        return DeadlineStream(stream)
