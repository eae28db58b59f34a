"""The ASGI application of the status page."""

from __future__ import annotations

import time
from functools import partial
from importlib.resources import files
from pathlib import Path

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
from worker.web.auth import HEALTH, Armour, Login
from worker.web.boxes import Missing
from worker.web.figures import Figures
from worker.web.forms import FormRefusedError, Forms
from worker.web.pages import Pages
from worker.web.snapshots import Pictures
from worker.web.templates import Templates

_UNKNOWN = "There is no such page, or it is not asked for like this."


def create_app(services: Services, settings: WebSettings) -> ASGIApp:
    """Return the page over these services, for those who know the password."""
    templates = Templates()
    pictures = Pictures(services)
    figures = Figures(services, pictures)
    pages = Pages(services, pictures, figures, templates, Forms(services.vault))
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
            MediaError: partial(_apologise, templates),
        },
    )
    return Armour(Login(app, settings))


def _folder() -> Path:
    return Path(str(files("worker.web").joinpath("static")))


def _refuse(templates: Templates, _request: Request, error: Exception) -> Response:
    status, said = 500, ""
    if isinstance(error, HTTPException):
        status, said = error.status_code, error.detail
    # Starlette's own texts are those of HTTP: Not Found, Method Not Allowed.
    values = {"status": status, "said": said if said.endswith(".") else _UNKNOWN}
    return templates.answer("refused.html", values, status)


def _refuse_form(templates: Templates, _request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, FormRefusedError) else 403
    said = f"Nothing was changed: the form was refused, because {error}."
    return templates.answer("refused.html", {"status": status, "said": said}, status)


def _apologise(templates: Templates, request: Request, error: Exception) -> Response:
    message = error.message if isinstance(error, MediaError) else ""
    missing = Missing(message, time.monotonic() - request.scope["began"])
    return templates.answer("unavailable.html", {"missing": missing}, 503)
