"""HTTP transports for untrusted hosts: limits on time, size and addresses.

httpcore passes the timeout of a request, unchanged, to every read and write of its connection.
If the timeout is a `Deadline`, `DeadlineStream` shortens it to the remaining time. The whole
request and response then end by the deadline, even if the host sends slowly.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from worker.core.net.addresses import AddressNotAllowedError, Network, resolve

_CONNECTIONS = 16
_KEEPALIVE = 60.0


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """The maximum size of a response in bytes, and its maximum duration in seconds."""

    max_bytes: int
    seconds: float


class LimitedTransport(httpx.BaseTransport):
    """Limits responses; reading beyond a limit raises httpx.ReadError."""

    def __init__(self, inner: httpx.BaseTransport, limits: ResponseLimits) -> None:
        self._inner = inner
        self._limits = limits

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        end = time.monotonic() + self._limits.seconds
        response = self._inner.handle_request(request)
        if not isinstance(response.stream, httpx.SyncByteStream):
            raise TypeError("the response of a synchronous call must be a SyncByteStream")
        response.stream = _LimitedStream(response.stream, self._limits.max_bytes, end)
        return response

    def close(self) -> None:
        self._inner.close()


class _LimitedStream(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, size: int, end: float) -> None:
        self._inner = inner
        self._size = size
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        remaining = self._size
        for chunk in self._inner:
            remaining -= len(chunk)
            if remaining < 0:
                raise httpx.ReadError(f"the response has more than {self._size} bytes")
            if time.monotonic() > self._end:
                raise httpx.ReadError("the response takes too long")
            yield chunk

    def close(self) -> None:
        self._inner.close()


class Deadline(float):
    """A timeout in seconds that also ends at `end`, a value of `time.monotonic`."""

    __slots__ = ("end",)
    end: float

    def __new__(cls, seconds: float, end: float) -> Deadline:
        deadline = super().__new__(cls, seconds)
        deadline.end = end
        return deadline


def _remaining(timeout: float | None, expired: type[httpcore.TimeoutException]) -> float | None:
    """Shorten a Deadline to the remaining seconds; raises `expired` if it has passed."""
    if not isinstance(timeout, Deadline):
        return timeout
    remaining = timeout.end - time.monotonic()
    if remaining <= 0:
        raise expired("the deadline of the whole exchange has passed")
    return min(float(timeout), remaining)


class DeadlineStream(httpcore.NetworkStream):
    """A network stream that applies the Deadline of the current request."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _remaining(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _remaining(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _remaining(timeout, httpcore.ConnectTimeout)
        return DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to public addresses and `allowed` networks, and applies deadlines.

    The addresses of a host can change between two lookups (DNS rebinding). So the host is resolved
    once per connection, and the connection uses the checked addresses.
    """

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that accepts, within `timeout` seconds in total."""
        timeout = _remaining(timeout, httpcore.ConnectTimeout)
        end = None if timeout is None else time.monotonic() + timeout
        failure = httpcore.ConnectError(f"{host} has no address")
        for address in resolve(host, port, timeout, self._allowed):
            rest = None if end is None else max(0.001, end - time.monotonic())
            try:
                stream = self._backend.connect_tcp(
                    str(address), port, rest, local_address, socket_options
                )
                return DeadlineStream(stream)
            except httpcore.ConnectError as error:
                failure = error
        raise failure


class PublicOnlyTransport(httpx.HTTPTransport):
    """An HTTP transport that raises httpx.ConnectError for non-public addresses."""

    def __init__(self) -> None:
        super().__init__(trust_env=False)
        # httpx has no parameter for the network backend of its pool.
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=_CONNECTIONS,
            keepalive_expiry=_KEEPALIVE,
            network_backend=GuardedBackend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return super().handle_request(request)
        except AddressNotAllowedError:
            raise httpx.ConnectError("not a public address", request=request) from None
