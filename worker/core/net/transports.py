"""Transports for hosts that are not trusted: limited in time, in bytes and to public addresses.

httpcore passes the timeout of a request, unchanged, to every read and write of its connection.
A `Deadline` passed as that timeout is cut there to the time that is left, so that one deadline
covers a whole exchange, however slowly the other side sends.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from worker.core.net.addresses import AddressNotAllowedError, GuardedBackend

_CONNECTIONS = 16
_KEEPALIVE = 60.0


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """How much of an answer is read at most, in bytes, and for how long, in seconds."""

    max_bytes: int
    seconds: float


class LimitedTransport(httpx.BaseTransport):
    """Another transport; its answers end with httpx.ReadError where they go on too long."""

    def __init__(self, inner: httpx.BaseTransport, bounds: ResponseLimits) -> None:
        self._inner = inner
        self._bounds = bounds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        end = time.monotonic() + self._bounds.seconds
        answer = self._inner.handle_request(request)
        if not isinstance(answer.stream, httpx.SyncByteStream):
            raise TypeError("an answer to a call that waits for it comes as a SyncByteStream")
        return httpx.Response(
            status_code=answer.status_code,
            headers=answer.headers,
            stream=_LimitedStream(answer.stream, self._bounds.max_bytes, end),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class _LimitedStream(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, size: int, end: float) -> None:
        self._inner = inner
        self._size = size
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        left = self._size
        for chunk in self._inner:
            left -= len(chunk)
            if left < 0:
                raise httpx.ReadError(f"the answer has more than {self._size} bytes")
            if time.monotonic() > self._end:
                raise httpx.ReadError("the answer takes too long")
            yield chunk

    def close(self) -> None:
        self._inner.close()


class Deadline(float):
    """A timeout for one read or write, in seconds, that ends at a moment of `time.monotonic`."""

    __slots__ = ("end",)
    end: float

    def __new__(cls, seconds: float, end: float) -> Deadline:
        """Return a timeout of `seconds` that never goes past `end`."""
        deadline = super().__new__(cls, seconds)
        deadline.end = end
        return deadline


def _remaining(timeout: float | None, expired: type[httpcore.TimeoutException]) -> float | None:
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
        return self._stream.read(max_bytes, _remaining(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of `buffer`."""
        self._stream.write(buffer, _remaining(timeout, httpcore.WriteTimeout))

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
        left = _remaining(timeout, httpcore.ConnectTimeout)
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
        left = _remaining(timeout, httpcore.ConnectTimeout)
        stream = self._backend.connect_tcp(host, port, left, local_address, socket_options)
        return DeadlineStream(stream)


class PublicOnlyTransport(httpx.HTTPTransport):
    """httpx's own transport, connecting to the addresses that were looked at, and public ones only.

    Raises httpx.ConnectError for others.
    """

    def __init__(self) -> None:
        super().__init__(trust_env=False)
        # httpx takes a proxy or a socket for its pool, and no network backend.
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=_CONNECTIONS,
            keepalive_expiry=_KEEPALIVE,
            network_backend=GuardedBackend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        try:
            return super().handle_request(request)
        except AddressNotAllowedError:
            raise httpx.ConnectError("not a public address", request=request) from None
