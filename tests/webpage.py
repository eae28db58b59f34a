"""A real `media-atproto web` process, and what is on its pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from playwright.sync_api import Browser, BrowserContext

from tests.fleet import Process, logged
from tests.plain_http import open_http
from tests.terminal import PROGRAM
from tests.waiting import wait_for

USER, PASSWORD = "ops", "canary-of-the-page"
LOGIN = {"WEB_BASIC_AUTH": f"{USER}:{PASSWORD}"}
_PATIENCE = 60.0


@dataclass(frozen=True)
class WebPage(Process):
    """The process, and where it serves."""

    url: str

    def client(self) -> httpx.Client:
        """Return a client of no browser that is logged in and follows nothing."""
        return open_http(self.url, login=(USER, PASSWORD), timeout=60)

    def context(
        self,
        browser: Browser,
        *,
        dark: bool = False,
        width: int = 1200,
        scripts: bool = True,
        bypass: bool = True,
    ) -> BrowserContext:
        """Return a browser's context that is logged in; with `bypass` axe gets into its pages."""
        return browser.new_context(
            base_url=self.url,
            bypass_csp=bypass,
            color_scheme="dark" if dark else "light",
            http_credentials={"username": USER, "password": PASSWORD},
            java_script_enabled=scripts,
            viewport={"width": width, "height": 800},
        )


@contextmanager
def serving(environ: Mapping[str, str], folder: Path, *options: str) -> Iterator[WebPage]:
    """Run the page until the block ends."""
    log = folder / f"web-{len(list(folder.iterdir()))}.log"
    command: tuple[str | Path, ...] = (PROGRAM, "web", "--port", "0", *options)
    with logged(command, log, env={**environ, **LOGIN}) as process:

        def told() -> list[str]:
            assert process.popen.poll() is None, process.text
            return re.findall(r"Serving (\S+)\s", process.text)

        (url, *_) = wait_for(told, within=_PATIENCE, what="the page to be served")
        yield WebPage(process.popen, log, url)
