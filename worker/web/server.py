"""Serving the status page: one process, until it is asked to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

_MOST_CONNECTIONS = 100
_LARGEST_HEAD = 16_384  # bytes of a request's first line and headers
_KEEP_ALIVE = 15  # seconds
_LAST_ANSWERS = 10  # seconds that requests under way have when it is stopped


class Server(uvicorn.Server):
    """A server that says when it takes requests."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take requests."""
        await super().startup(sockets)
        self._started()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 is any that is free. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_MOST_CONNECTIONS)


def serve(app: ASGIApp, listening: socket.socket, started: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; what is being answered then is answered.

    No line is logged for a request: addresses hold what people look for.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        forwarded_allow_ips="127.0.0.1,::1",
        h11_max_incomplete_event_size=_LARGEST_HEAD,
        http="h11",
        interface="asgi3",
        lifespan="off",
        limit_concurrency=_MOST_CONNECTIONS,
        log_level="warning",
        loop="asyncio",
        server_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS,
        timeout_keep_alive=_KEEP_ALIVE,
        ws="none",
    )
    Server(config, started).run(sockets=[listening])
