"""A real `media-atproto web` process, and what is on its pages."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from playwright.sync_api import Browser, BrowserContext

from tests.terminal import PROGRAM
from tests.waiting import wait_for

USER, PASSWORD = "ops", "canary-of-the-page"
LOGIN = {"WEB_BASIC_AUTH": f"{USER}:{PASSWORD}"}
_PATIENCE = 60.0


@dataclass(frozen=True)
class WebPage:
    """The process, where it serves, and what it has said."""

    popen: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def text(self) -> str:
        """Return what it has printed so far."""
        return self.log.read_text(errors="replace")

    def client(self) -> httpx.Client:
        """Return a client of no browser that is logged in and follows nothing."""
        return httpx.Client(base_url=self.url, auth=(USER, PASSWORD), timeout=60, trust_env=False)

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

    def stop(self) -> int:
        """Ask it to stop, as an operator does, and return its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout=_PATIENCE)


@contextmanager
def serving(environ: Mapping[str, str], folder: Path, *options: str) -> Iterator[WebPage]:
    """Run the page until the block ends."""
    log = folder / f"web-{len(list(folder.iterdir()))}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [PROGRAM, "web", "--port", "0", *options],
            env={**environ, **LOGIN},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield WebPage(popen, _await_url(popen, log), log)
    finally:
        popen.send_signal(signal.SIGTERM)
        popen.wait(timeout=_PATIENCE)


def _await_url(popen: subprocess.Popen[bytes], log: Path) -> str:
    def told() -> bool:
        assert popen.poll() is None, log.read_text()
        return "Serving " in log.read_text()

    wait_for(told, within=_PATIENCE, what="the page to be served")
    return log.read_text().partition("Serving ")[2].splitlines()[0].strip()
