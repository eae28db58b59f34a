"""Where a host's name leads: looked up once, checked, and connected to as it was checked."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.contract.source_stores import ENOUGH, KEY, SHORT, opened, put
from tests.contract.web_server import Site
from tests.refusals import fails_with

_LOOK_UP = socket.getaddrinfo
Say = Callable[..., None]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Have `media.example` lead to these addresses, at each look another list; the last stays."""

    def say(*answers: list[str]) -> None:
        left = list(answers)

        def look_up(host: str, port: object, *args: Any, **options: Any) -> list[Any]:
            if host != "media.example":
                return list(_LOOK_UP(host, port, *args, **options))  # type: ignore[arg-type]
            found = left.pop(0) if len(left) > 1 else left[0]
            return [each for one in found for each in _LOOK_UP(one, port, *args, **options)]  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return say


def url_of(site: Site, host: str) -> str:
    """Return the address of a server under another name."""
    return f"http://{host}:{site.server.server_port}"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "[::ffff:127.0.0.1]"],
)
def test_a_local_address_is_refused_however_it_is_written(
    site: Site, folder: Path, host: str
) -> None:
    """Nothing is connected to; the message names the address and the setting."""
    put(folder, KEY, b"secret")
    refused = fails_with(
        "source_host_not_allowed", match=r"127\.0\.0\.1|::1.*MEDIA_STORE_ALLOWED_NETWORKS"
    )
    with opened(url_of(site, host), networks=()) as store, refused:
        store.read(KEY, max_bytes=ENOUGH)
    assert site.server.connections == 0


def test_an_allowed_network_is_reached_and_no_other(site: Site, folder: Path) -> None:
    """By its address or its length."""
    put(folder, KEY, b"ours")
    with opened(site.url, networks=["127.0.0.0/30"]) as store:
        assert store.read(KEY, max_bytes=ENOUGH).data == b"ours"
    refused = fails_with("source_host_not_allowed")
    with opened(site.url, networks=["127.0.0.2/32"]) as store, refused:
        store.stat(KEY)


@pytest.mark.parametrize(
    "others", [["10.0.0.1"], ["169.254.169.254"], ["100.64.0.1"], ["fe80::1"], ["64:ff9b::a00:1"]]
)
def test_one_address_that_is_not_public_spoils_a_name(
    site: Site, folder: Path, named: Say, others: list[str]
) -> None:
    """Wherever it stands among good ones, which are not connected to either."""
    put(folder, KEY, b"x")
    for answer in (["127.0.0.1", *others], [*others, "127.0.0.1"]):
        named(answer)
        refused = fails_with("source_host_not_allowed", match=r"media\.example is at")
        with opened(url_of(site, "media.example"), networks=["127.0.0.1"]) as store, refused:
            store.read(KEY, max_bytes=ENOUGH)
    assert site.server.connections == 0


def test_a_name_that_is_bound_anew_gains_nothing(site: Site, folder: Path, named: Say) -> None:
    """What was checked is connected to; the next connection is checked again."""
    put(folder, KEY, b"x")
    url = url_of(site, "media.example")
    named(["127.0.0.1"], ["169.254.169.254"])
    with opened(url, networks=["127.0.0.1"]) as store:
        assert store.read(KEY, max_bytes=ENOUGH).data == b"x"
    refused = fails_with("source_host_not_allowed", match=r"169\.254\.169\.254")
    with opened(url, networks=["127.0.0.1"]) as store, refused:
        store.read(KEY, max_bytes=ENOUGH)
    assert site.server.connections == 1


def test_the_next_address_is_tried_where_one_does_not_answer(
    site: Site, folder: Path, named: Say
) -> None:
    """Nobody listens at the first."""
    put(folder, KEY, b"x")
    named(["127.0.0.2", "127.0.0.1"])
    with opened(url_of(site, "media.example")) as store:
        assert store.read(KEY, max_bytes=ENOUGH).data == b"x"


def test_a_name_that_does_not_exist_is_transient() -> None:
    """It may be the resolver."""
    with opened("http://media.invalid") as store, fails_with("source_unavailable"):
        store.read(KEY, max_bytes=ENOUGH)


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have no name looked up before the test is over."""
    over = Event()

    def look_up(*args: Any, **options: Any) -> list[Any]:
        over.wait()
        return list(_LOOK_UP(*args, **options))

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield
    over.set()


@pytest.mark.usefixtures("silent_resolver")
def test_the_deadline_covers_looking_up_the_name(site: Site) -> None:
    """The system's resolver may take half a minute."""
    with opened(site.url, deadline=SHORT) as store, fails_with("source_timeout"):
        store.read(KEY, max_bytes=ENOUGH)
