"""The ASGI application of the status page, and the server that runs it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from worker.core.errors import MediaError
from worker.core.settings import WebSettings
from worker.services import Services
from worker.web.auth import HEALTH, BasicAuth, SecurityHeaders
from worker.web.forms import FormRefusedError, Forms
from worker.web.pages import Pages
from worker.web.snapshots import MetricsSnapshot, StatusSnapshots, Unavailable
from worker.web.templates import Templates

_UNKNOWN = "There is no such page, or it is not asked for like this."
_MAX_CONNECTIONS = 100
_MAX_HEAD = 16_384  # bytes of a request's first line and headers
_KEEP_ALIVE = 15  # seconds
_LAST_ANSWERS = 10  # seconds that requests under way have when it is stopped


def create_app(services: Services, settings: WebSettings) -> ASGIApp:
    """Return the page over these services, for those who know the password."""
    templates = Templates()
    snapshots = StatusSnapshots(services)
    figures = MetricsSnapshot(services, snapshots)
    pages = Pages(services, snapshots, figures, templates, Forms(services.vault))
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
            Mount("/static", StaticFiles(directory=_folder())),
        ],
        exception_handlers={
            HTTPException: partial(_refuse, templates),
            FormRefusedError: partial(_refuse_form, templates),
            MediaError: partial(_report_error, templates),
        },
    )
    return SecurityHeaders(BasicAuth(app, settings))


def _folder() -> Path:
    return Path(str(files("worker.web").joinpath("static")))


def _refuse(templates: Templates, _request: Request, error: Exception) -> Response:
    status, said = 500, ""
    if isinstance(error, HTTPException):
        status, said = error.status_code, error.detail
    # Starlette's own texts are those of HTTP: Not Found, Method Not Allowed.
    values = {"status": status, "said": said if said.endswith(".") else _UNKNOWN}
    return templates.render("refused.html", values, status)


def _refuse_form(templates: Templates, _request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, FormRefusedError) else 403
    said = f"Nothing was changed: the form was refused, because {error}."
    return templates.render("refused.html", {"status": status, "said": said}, status)


def _report_error(templates: Templates, request: Request, error: Exception) -> Response:
    message = error.message if isinstance(error, MediaError) else ""
    missing = Unavailable(message, time.monotonic() - request.scope["began"])
    return templates.render("unavailable.html", {"missing": missing}, 503)


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
    return socket.create_server((host, port), family=family, backlog=_MAX_CONNECTIONS)


def serve(app: ASGIApp, listening: socket.socket, started: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; what is being answered then is answered.

    No line is logged for a request: addresses hold what people look for.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        forwarded_allow_ips="127.0.0.1,::1",
        h11_max_incomplete_event_size=_MAX_HEAD,
        http="h11",
        interface="asgi3",
        lifespan="off",
        limit_concurrency=_MAX_CONNECTIONS,
        log_level="warning",
        loop="asyncio",
        server_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS,
        timeout_keep_alive=_KEEP_ALIVE,
        ws="none",
    )
    Server(config, started).run(sockets=[listening])
