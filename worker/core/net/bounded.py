"""HTTP whose answers end: after so many bytes, and after so many seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of an answer is read at most, in bytes, and for how long, in seconds."""

    size: int
    seconds: float


class BoundedTransport(httpx.BaseTransport):
    """Another transport; its answers end with httpx.ReadError where they go on too long."""

    def __init__(self, inner: httpx.BaseTransport, bounds: Bounds) -> None:
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
            stream=_BoundedStream(answer.stream, self._bounds.size, end),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class _BoundedStream(httpx.SyncByteStream):
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
