"""Fixtures for tests that look at pages as a person does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import Chromium, install

_SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory, bare_environ: dict[str, str]) -> Chromium:
    """Return an installed Chromium."""
    return install(bare_environ, tmp_path_factory.mktemp("chromium"))


@pytest.fixture(scope="module")
def browser(chromium: Chromium) -> Iterator[Browser]:
    """Return a running Chromium. Tests open contexts of their own in it."""
    # Playwright's event loop must not outlive the module: it would be in the way of others.
    with sync_playwright() as playwright:
        yield chromium.launch(playwright)


def serious_faults(page: Page, axe: Path) -> list[str]:
    """Return what axe finds serious or critical on a page, a line for each."""
    page.add_script_tag(path=axe)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{fault['id']}: {fault['help']} {json.dumps([node['target'] for node in fault['nodes']])}"
        for fault in found
        if fault["impact"] in _SERIOUS
    ]
