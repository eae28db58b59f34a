"""`media-atproto web`: serve the status page."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from worker.cli.environment import complete_environment
from worker.cli.output import CommandError, echo

if TYPE_CHECKING:
    from worker.services import Services

_NEEDED = ("starlette", "uvicorn", "jinja2")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8700,
    show_default=True,
    help="The port to listen at; 0 for any free port.",
)
@click.pass_obj
def web(env_file: Path | None, host: str, port: int) -> None:
    """Serve the status page: items by state, failures, and recently published items.

    The login is WEB_BASIC_AUTH=user:password; only the health check /healthz needs no login. The
    page changes nothing, except that it can retry items.

    It uses plain HTTP. To allow access from other machines, put a TLS proxy in front of it, or the
    password is sent unencrypted.

    \b
    Exit codes:
      0  stopped by SIGTERM or Ctrl-C
      2  error: wrong usage, an invalid or missing setting, or the address is in use

    \b
      WEB_BASIC_AUTH="ops:$(openssl rand -hex 16)" media-atproto web
      media-atproto web --host 0.0.0.0 --port 8080
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    complete_environment(env_file)
    _check_packages()
    from worker.core.settings import LogSettings, WebSettings
    from worker.telemetry import logs
    from worker.web.app import create_app, serve

    login = WebSettings.load(os.environ)
    logs.start(LogSettings.load(os.environ), logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with closing(_services()) as services, _listen(host, port) as listening:
        app = create_app(services, login)
        echo(f"Serving {_address(host, listening.getsockname()[1])}")
        serve(app, listening)


def _check_packages() -> None:
    """Raise CommandError if a package of the extra `web` is not installed."""
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            raise CommandError(f"{name} is missing: pip install 'media-atproto[web]'")


def _listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; raises CommandError."""
    from worker.web.app import listen

    try:
        return listen(host, port)
    except OSError as error:
        message = f"cannot listen at {host}, port {port}: {error.strerror}; see --host, --port"
        raise CommandError(message) from None


def _services() -> Services:
    """Return services with short timeouts, because a browser waits for the response."""
    from worker.core.net.client import ClientLimits
    from worker.core.settings import Settings
    from worker.services import build
    from worker.services.timeouts import Timeouts

    limits = ClientLimits(seconds=8, max_bytes=8_000_000)
    timeout = Timeouts(pds=4, redis=2, once=True, limits=limits)
    return build(Settings.load(os.environ), timeouts=timeout)


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _end(_signal: int, _frame: object) -> NoReturn:
    """Exit with 0; the server raises the signal again once it has stopped."""
    raise SystemExit(0)
