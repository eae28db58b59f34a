"""Answers that do not end, for somebody who waits for a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.contract.web_faults import drip_body, flood
from tests.contract.web_server import Site, serving
from worker.core.net.transports import LimitedTransport, ResponseLimits

SIZE = 200_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Run a web server with two files: one as large as may be read, one a byte larger."""
    (tmp_path / "right").write_bytes(bytes(SIZE))
    (tmp_path / "large").write_bytes(bytes(SIZE + 1))
    with serving(tmp_path) as running:
        yield running


def got(url: str, *, seconds: float = 60) -> bytes:
    """Get what is there, within bounds."""
    bounds = ResponseLimits(max_bytes=SIZE, seconds=seconds)
    with closing(httpx.HTTPTransport()) as inner:
        client = httpx.Client(transport=LimitedTransport(inner, bounds), timeout=60)
        with client:
            return client.get(url).content


def test_an_answer_within_its_bounds_is_read_whole(site: Site) -> None:
    """To the last byte."""
    assert len(got(f"{site.url}/right")) == SIZE


@pytest.mark.parametrize("name", ["large", "endless"])
def test_an_answer_that_is_too_large_is_cut_off(site: Site, name: str) -> None:
    """Whether or not it says how large it is."""
    site.faults["endless"] = flood
    with pytest.raises(httpx.ReadError, match=f"more than {SIZE} bytes"):
        got(f"{site.url}/{name}")


def test_an_answer_that_drips_is_cut_off(site: Site) -> None:
    """Though no wait for a single byte is long."""
    site.faults["slow"] = drip_body
    with pytest.raises(httpx.ReadError, match="takes too long"):
        got(f"{site.url}/slow", seconds=0.5)
