"""The ASGI application of the status page, and the server that runs it."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from worker.core.errors import MediaError
from worker.core.settings import WebSettings
from worker.services import Services
from worker.web.auth import HEALTH, Gate
from worker.web.connections import BACKLOG, KEEP_ALIVE, LimitedProtocol
from worker.web.forms import Forms
from worker.web.pages import Pages
from worker.web.snapshots import StatusSnapshots
from worker.web.templates import Templates

_MAX_HEADERS = 16_384  # bytes, with the request line
_SHUTDOWN = 10  # seconds for requests in progress


def create_app(services: Services, settings: WebSettings) -> ASGIApp:
    """Create the ASGI application of the status page; it requires a login."""
    pages = Pages(services, StatusSnapshots(services), Templates(), Forms(services.pds.vault))
    app = Starlette(
        routes=[
            Route(HEALTH, pages.health),
            Route("/metrics", pages.metrics),
            Route("/", pages.overview),
            Route("/failures", pages.failures),
            Route("/accounts", pages.accounts),
            Route("/item", pages.item),
            Route("/picture", pages.picture),
            Route("/search", pages.search),
            Route("/retry", pages.retry, methods=["POST"]),
            Mount("/static", StaticFiles(packages=[("worker.web", "static")])),
        ],
        exception_handlers={HTTPException: pages.refused, MediaError: pages.failed},
    )
    return Gate(app, settings)


def listen(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket, on a free port if `port` is 0; raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Serve `app` until SIGTERM or SIGINT, and finish the requests in progress.

    Requests are not logged, because their URLs contain search texts.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        backlog=BACKLOG,
        forwarded_allow_ips="127.0.0.1,::1",
        h11_max_incomplete_event_size=_MAX_HEADERS,
        http=LimitedProtocol,
        lifespan="off",
        log_config=None,  # the root logger's, whose formatter makes foreign text printable
        log_level="warning",
        loop="asyncio",
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN,
        timeout_keep_alive=KEEP_ALIVE,
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listening])
