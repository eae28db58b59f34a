"""Texts of a directory, a store and lists of records: no output controls its reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from bson import ObjectId
from redis import Redis

from tests.attacks.foreign_text import HOSTILE, LONG, faults, json_faults
from tests.contract.hooked_sources import with_sources
from tests.contract.proxy import Proxy, Reply, open_proxy
from tests.contract.source_stores import opened
from tests.contract.web_server import Handler, Site, serving
from tests.environments import SHORT_RETRIES
from tests.pictures import pixel_art
from tests.terminal import call
from tests.world import World, Worlds
from worker.core.errors import MediaError
from worker.database.state import mapping
from worker.pds.account_cache import AccountCache
from worker.pds.repo import Repo
from worker.sync.engine import Engine

_SERVICE = "#atproto_pds"


@pytest.fixture(scope="module")
def proxied(worlds: Worlds) -> Iterator[tuple[World, Proxy]]:
    """Return a world, and the proxy in front of its directory."""
    with (
        open_proxy(worlds.stack.environment["DID_RESOLVER"]) as directory,
        worlds.open_with_redis(DID_RESOLVER=directory.url, **SHORT_RETRIES) as world,
    ):
        yield world, directory


def document(did: str, endpoint: object, **changes: object) -> bytes:
    """Build a DID document."""
    service = {"id": _SERVICE, "serviceEndpoint": endpoint}
    return json.dumps({"id": did, "service": [service], **changes}).encode()


def check_outputs(world: World, type_name: str, item: ObjectId) -> None:
    """Check what operators see of an item, and the message on its document."""
    for command in (["failures"], ["show", type_name, str(item)], ["accounts"]):
        assert faults(call(world, *command).output) == set()
    assert json_faults(call(world, "show", type_name, str(item), "--json").stdout) == set()
    collection = world.services.storage.database[f"{type_name}s"]
    state = mapping(mapping(collection.find_one({"_id": item}))["atproto"])
    message = str(mapping(state.get("error")).get("message", ""))
    assert (message.isprintable(), len(message) < 2000) == (True, True)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("id", LONG[:90_000]),
        ("endpoint", LONG[:90_000]),
        ("endpoint", HOSTILE),
        ("page", LONG[:90_000]),
        ("status", LONG[:90_000]),
    ],
    ids=["id", "endpoint", "endpoint of 1 MB", "page", "status"],
)
def test_directory_controls_no_output(proxied: tuple[World, Proxy], field: str, text: str) -> None:
    """Whatever part of its answer is hostile."""
    world, directory = proxied
    did = world.dids[world.ada]
    replies = {
        "id": Reply(200, document(did, "https://pds.example.com", id=text)),
        "endpoint": Reply(200, document(did, text)),
        "page": Reply(200, f"<html>{text}".encode(), "text/html"),
        "status": Reply(500, json.dumps({"message": text}).encode()),
    }
    with Redis.from_url(world.environ["REDIS_URL"]) as redis:
        AccountCache(redis).invalidate(did)
    directory.answer(replies[field])
    item = world.platform.save_mood("calm", world.ada)
    outcome = world.sync("mood", item)
    directory.be_honest()
    assert outcome.error
    assert outcome.error.code == "directory_unavailable"
    check_outputs(world, "mood", item)


@pytest.fixture
def store(proxied: tuple[World, Proxy]) -> Iterator[tuple[Site, Engine]]:
    """Serve the files of the world over HTTP, and return an engine that reads them there."""
    services = proxied[0].services
    media = Path(proxied[0].environ["MEDIA_STORE_URL"].removeprefix("file://"))
    with serving(media) as site, opened(site.url) as sources:
        yield site, with_sources(services, services.sync.batches, sources).engine


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("ETag", 200),
        ("Last-Modified", 200),
        ("Content-Type", 200),
        ("Content-Encoding", 200),
        ("Location", 302),
    ],
)
def test_store_controls_no_output(
    proxied: tuple[World, Proxy], store: tuple[Site, Engine], header: str, status: int
) -> None:
    """Its headers have C1 controls: others are no HTTP. They become parts of states and errors."""
    world, (site, engine) = proxied[0], store
    slug, value = f"{header}-{status}".lower(), "\x9b31m\x85\x9d0;owned\x9c" + "e" * 150

    def answer(to: Handler) -> None:
        to.answer(status, pixel_art(), {header: value})

    site.faults[f"{slug}.png"] = answer
    item = world.platform.save_painting(slug, world.ada)
    world.sync("painting", item, engine=engine)
    check_outputs(world, "painting", item)


@pytest.mark.parametrize("cursor", [LONG, HOSTILE], ids=["100k", "1M"])
def test_cursor_of_a_list_is_only_sent_back(worlds: Worlds, cursor: str) -> None:
    """It ends in an error that quotes nothing of it."""
    with (
        open_proxy(worlds.stack.environment["PDS_URL"]) as proxy,
        worlds.open(PDS_URL=proxy.url, DID_RESOLVER="off") as world,
    ):
        item = world.publish_mood("calm")
        (record,) = world.records("mood", item)
        page = {"records": [record], "cursor": cursor}
        proxy.answer(Reply(200, json.dumps(page).encode()), "listRecords")
        account = world.services.storage.accounts.find(world.ada)
        assert account
        repo: Repo = world.services.pds.repo(account)
        with pytest.raises(MediaError) as caught:
            list(repo.records("computer.aesthetic.mood"))
    assert faults(caught.value.message) == set()
    assert "owned" not in caught.value.message
