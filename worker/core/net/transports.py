"""Network connections with deadlines, to checked addresses.

httpcore passes the timeout of a request, unchanged, to every read and write of its connection.
If the timeout is a `Deadline`, `DeadlineStream` shortens it to the remaining time. The whole
request and response then end by the deadline, even if the host sends slowly.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

from worker.core.net.addresses import Network, resolve

_PIECE = 262_144  # bytes that are sent within one timeout


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
        # httpcore applies a timeout to each part that the other side accepts, not to their sum.
        connection: socket.socket = self._stream.get_extra_info("socket")
        rest = memoryview(buffer)
        while rest:
            seconds = _remaining(timeout, httpcore.WriteTimeout)
            rest = rest[_send(connection, rest[:_PIECE], seconds) :]

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


def _send(connection: socket.socket, data: memoryview, timeout: float | None) -> int:
    """Send the part of `data` that the other side accepts, with TLS all; return its length."""
    try:
        connection.settimeout(timeout)
        return connection.send(data)
    except TimeoutError as error:
        raise httpcore.WriteTimeout(error) from error
    except OSError as error:
        raise httpcore.WriteError(error) from error


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
