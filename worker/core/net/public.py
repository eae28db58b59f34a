"""HTTP to hosts that others name: nothing goes to an address that is not public."""

from __future__ import annotations

import httpcore
import httpx

from worker.core.net.addresses import AddressNotAllowedError, GuardedBackend

_CONNECTIONS = 16
_KEEPALIVE = 60.0


class PublicTransport(httpx.HTTPTransport):
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
