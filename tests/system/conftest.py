"""Fixtures of a browser, for the tests that look at pages."""

from tests.browser.fixtures import browser, chromium  # noqa: F401 - pytest finds them here
