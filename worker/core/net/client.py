"""HTTP clients with limits, for all hosts except the media store.

A foreign host is one that is not in our settings: a PDS or a DID document chosen by an account's
owner. It is called with https at port 443, and at public addresses only. A host of our settings may
have any address and port. All other limits apply to both.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_network

import httpcore
import httpx

from worker.core.net.addresses import AddressNotAllowedError, Network
from worker.core.net.transports import Deadline, GuardedBackend

LIMITS = "limits"  # the extension of a request that contains its own ClientLimits
CONNECT_SECONDS = 3.0
_CONNECTIONS = 16
_KEEPALIVE_SECONDS = 60.0
_HTTPS_PORT = 443
_TLS_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_ANY_ADDRESS = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_NOT_ENCODED = frozenset({"", "identity"})


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """The limits of one call.

    `seconds` is the time from the DNS lookup to the last byte of the response. `max_bytes` is the
    size of the body of the response.
    """

    seconds: float
    max_bytes: int


class ResponseTooLargeError(httpx.ReadError):
    """The body of a response exceeds its limit."""


class ClientTransport(httpx.HTTPTransport):
    """Sends requests to foreign hosts or to hosts of our settings, within limits.

    `limits` are used for requests without the extension LIMITS. `networks` are allowed in addition
    to public addresses, and `port` is the allowed port, for `foreign` hosts. `tls` replaces the
    default certificates: those of certifi, or for hosts of our settings those of SSL_CERT_FILE.
    `first` limits the seconds of each read until the host has responded once.
    """

    def __init__(
        self,
        limits: ClientLimits,
        *,
        foreign: bool,
        networks: Sequence[Network] = (),
        port: int = _HTTPS_PORT,
        tls: ssl.SSLContext | None = None,
        first: float | None = None,
    ) -> None:
        tls = tls or _default_tls(trust_env=not foreign)
        super().__init__(verify=tls, trust_env=False)
        self._limits = limits
        self._foreign_port = port if foreign else None
        self._first = first
        self._responded = set[bytes]()  # hosts, only with `first`
        # httpx has no parameter for the network backend of its pool.
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=_CONNECTIONS,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=GuardedBackend(networks if foreign else _ANY_ADDRESS),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; raises httpx.TransportError, or DecodingError for compressed bodies."""
        if self._foreign_port is not None:
            _check_foreign(request, self._foreign_port)
        limits: ClientLimits = request.extensions.get(LIMITS) or self._limits
        timeouts = _timeouts(request, limits.seconds)
        if self._first is not None and request.url.netloc not in self._responded:
            timeouts["read"] = Deadline(min(timeouts["read"], self._first), timeouts["read"].end)
        request.extensions = {**request.extensions, "timeout": timeouts}
        request.headers["Accept-Encoding"] = "identity"
        try:
            response = super().handle_request(request)
        except AddressNotAllowedError:
            raise httpx.ConnectError("not a public address", request=request) from None
        if self._first is not None:
            self._responded.add(request.url.netloc)
        return _limited(response, limits)


class DirectClient(httpx.Client):
    """Sends requests without the layers of httpx for redirects, cookies and logins.

    They are not used here, and take a sixth of the CPU time of a call.
    """

    def __init__(
        self,
        transport: ClientTransport,
        timeout: httpx.Timeout,
        on_response: Callable[[httpx.Response], None],
    ) -> None:
        super().__init__(transport=transport, timeout=timeout, trust_env=False)
        self._direct = transport
        self._on_response = on_response

    def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        auth: object = None,
        follow_redirects: object = None,
    ) -> httpx.Response:
        """Send a request; with `stream`, the caller reads and closes the response."""
        if self.is_closed:
            raise RuntimeError("the HTTP client is closed")
        try:
            response = self._direct.handle_request(request)
        except httpx.RequestError as error:
            error.request = request
            raise
        response.request = request
        try:
            self._on_response(response)
            if not stream:
                response.read()
        except BaseException:
            response.close()
            raise
        return response


def open_client(
    *,
    foreign: bool,
    timeout: float,
    limits: ClientLimits,
    networks: Sequence[Network] = (),
    port: int = _HTTPS_PORT,
    tls: ssl.SSLContext | None = None,
) -> httpx.Client:
    """Create a client that follows no redirects and reads no environment variables for proxies.

    `timeout` limits each read and write, in seconds. The others are those of ClientTransport.
    """
    transport = ClientTransport(limits, foreign=foreign, networks=networks, port=port, tls=tls)
    return httpx.Client(
        transport=transport,
        timeout=httpx.Timeout(timeout, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
    )


def _default_tls(*, trust_env: bool) -> ssl.SSLContext:
    variables = map(os.environ.get, _TLS_VARIABLES) if trust_env else ()
    return _load_certificates(*variables, trust_env=trust_env)


@cache
def _load_certificates(*_variables: str | None, trust_env: bool) -> ssl.SSLContext:
    """Load the default certificates, once for each value of the variables; takes 15 ms.

    A process does not notice that the contents of a certificate file have changed.
    """
    return httpx.create_ssl_context(trust_env=trust_env)


def _check_foreign(request: httpx.Request, port: int) -> None:
    url = request.url
    if url.scheme != "https" or (url.port or _HTTPS_PORT) != port:
        message = f"a foreign host is called with https at port {port} only"
        raise httpx.UnsupportedProtocol(message, request=request)


def _timeouts(request: httpx.Request, seconds: float) -> dict[str, Deadline]:
    """Return the timeouts of a request, all with the same deadline."""
    end = time.monotonic() + seconds
    timeouts: Mapping[str, float | None] = request.extensions.get("timeout", {})
    return {
        name: Deadline(seconds if value is None else min(value, seconds), end)
        for name, value in timeouts.items()
    }


def _limited(response: httpx.Response, limits: ClientLimits) -> httpx.Response:
    """Limit a response, without cookies; raises httpx.DecodingError if it is compressed."""
    if not isinstance(response.stream, httpx.SyncByteStream):
        raise TypeError("the response of a synchronous call must be a SyncByteStream")
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _NOT_ENCODED:
        response.close()
        raise httpx.DecodingError("the response has a content encoding that was not requested")
    # httpx would keep cookies as long as the client lives, and send them again.
    response.headers.pop("Set-Cookie", None)
    if not _has_valid_host(response.headers.get("Location", "")):
        del response.headers["Location"]
    response.stream = _LimitedStream(response.stream, limits.max_bytes)
    return response


def _has_valid_host(location: str) -> bool:
    """Return whether httpx accepts the host of a redirect, which it decodes even if unused."""
    with suppress(httpx.InvalidURL, ValueError):
        httpx.URL(location).host.encode()
        return True
    return False


class _LimitedStream(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, size: int) -> None:
        self._inner = inner
        self._size = size

    def __iter__(self) -> Iterator[bytes]:
        remaining = self._size
        for chunk in self._inner:
            remaining -= len(chunk)
            if remaining < 0:
                raise ResponseTooLargeError(f"the response has more than {self._size} bytes")
            yield chunk

    def close(self) -> None:
        self._inner.close()
