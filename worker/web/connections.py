"""Limit the connections of the status page, so that one client cannot keep others out."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

# Connections that the system keeps for us. asyncio may open as many at once; it takes three rounds
# of its loop until surplus ones are closed. Together with `max_connections`, and the connections to
# MongoDB, Redis and PDSes, that is below 1024 open files, the default limit of Linux.
BACKLOG = 256
KEEP_ALIVE = 15  # seconds


class LimitedProtocol(H11Protocol):
    """Closes a connection without a complete request, and the oldest such one at the limit.

    uvicorn has no time limit for the first request, and rejects new requests at its limit.
    """

    max_connections = 100
    request_seconds = 5.0
    _idle_since = 0.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request(self.request_seconds)
        if len(self.connections) > self.max_connections:
            self._close_oldest()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()

    def on_response_complete(self) -> None:
        self._await_request(KEEP_ALIVE + self.request_seconds)
        super().on_response_complete()

    def _await_request(self, seconds: float) -> None:
        """Close the connection in `seconds`, unless it has a complete request by then."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._idle_since = self.loop.time()
        self._deadline = self.loop.call_later(seconds, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self._is_idle:
            self.transport.abort()

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _close_oldest(self) -> None:
        """Close the oldest connection that is idle, or whose client does not read a response."""
        ours = (each for each in self.connections if isinstance(each, LimitedProtocol))
        idle = [each for each in ours if each._is_idle or each.flow.write_paused]
        oldest = min(idle, key=lambda each: each._idle_since)
        oldest.transport.abort()
        self.connections.discard(oldest)
