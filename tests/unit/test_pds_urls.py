"""One host has one URL."""

from __future__ import annotations

import pytest

from worker.core.net.urls import allowed_pds_url, canonical_pds_url, configured_pds_url


@pytest.mark.parametrize(
    "text",
    [
        "https://pds.example.com",
        "https://pds.example.com/",
        "https://pds.example.com:443",
        "https://PDS.Example.COM:443/",
    ],
)
def test_spellings_of_one_url_have_one_form(text: str) -> None:
    """So they share sessions, rate limits and slots."""
    assert canonical_pds_url(text) == "https://pds.example.com"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("http://LocalHost:2583//", "http://localhost:2583"),
        ("https://PDS.example:443", "https://pds.example"),
        ("http://pds:3000/Path", "http://pds:3000/Path"),
        ("https://[", "https://["),
        ("", ""),
    ],
)
def test_configured_urls_have_one_form(text: str, form: str) -> None:
    """Whatever they are, because they are checked elsewhere."""
    assert configured_pds_url(text) == form


def test_trusted_urls_may_have_any_form() -> None:
    """But no other spelling than that of the settings, unless it is a public URL."""
    trusted = {"http://10.0.0.7:3000", "https://pds.example.com"}
    assert allowed_pds_url("http://10.0.0.7:3000/", trusted) == "http://10.0.0.7:3000"
    assert allowed_pds_url("https://PDS.example.com", trusted) == "https://pds.example.com"
    assert allowed_pds_url("http://10.0.0.7:03000", trusted) is None
