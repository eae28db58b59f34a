"""The browser itself: what it shows, and that the judge of accessibility can say no."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.browser.chromium import Chromium
from tests.browser.fixtures import serious_faults

_BAD = "<html><body><h1>Title</h1><img src='data:,'><p style='color:#eee'>pale</p></body></html>"


def test_a_page_that_cannot_be_read_is_found_out(browser: Browser, chromium: Chromium) -> None:
    """An image without a text, pale letters and a page without a language are each named."""
    page = browser.new_page()
    page.set_content(_BAD)
    faults = serious_faults(page, chromium.axe)
    assert {fault.partition(":")[0] for fault in faults} >= {
        "image-alt",
        "color-contrast",
        "html-has-lang",
    }
