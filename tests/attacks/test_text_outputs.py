"""Every field of a PDS, a document or Redis is hostile text; no output controls its reader."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
from bson import ObjectId
from redis import Redis

from tests.attacks.foreign_text import CONTROLS, HOSTILE, LONG, SHORT, WORST, faults, json_faults
from tests.bulk import account
from tests.contract.proxy import Proxy, Reply, open_proxy
from tests.environments import SHORT_RETRIES
from tests.terminal import call
from tests.world import World, Worlds
from worker.core.clock import now
from worker.core.records import RecordKey
from worker.core.secrets import Secret
from worker.core.settings import WebSettings
from worker.database.state import mapping
from worker.pds.client import PdsClient
from worker.sync.item_log import StructuredItemLog
from worker.sync.outcome import Outcome
from worker.telemetry.logs import set_formatter
from worker.telemetry.metrics import NULL_METRICS
from worker.web.app import create_app

_LOGIN = ("ops", "canary-password-of-the-page")
_URI = "at://did:plc:abc/computer.aesthetic.mood/3k2aaaaaaaa2a"


@dataclass(frozen=True)
class Platform:
    """A world behind a proxy, with an item for each field that an attacker controls.

    `failed` are the outcomes of items that the PDS refused with hostile texts.
    """

    world: World
    proxy: Proxy
    items: dict[str, str]
    failed: tuple[Outcome, ...]

    def show(self, name: str, *options: str) -> str:
        """Run `show` for an item, while the PDS answers with a hostile record."""
        return call(self.world, "show", "mood", self.items[name], *options).output


@pytest.fixture(scope="module")
def platform(worlds: Worlds) -> Iterator[Platform]:
    """Save the scenario once for all outputs."""
    with (
        open_proxy(worlds.stack.environment["PDS_URL"]) as proxy,
        worlds.open_with_redis(PDS_URL=proxy.url, **SHORT_RETRIES) as world,
    ):
        yield _attack(world, proxy)


def _attack(world: World, proxy: Proxy) -> Platform:
    _add_orphan(world)
    published = world.publish_mood("calm")
    refused = []
    for body, content_type in _refusals():
        proxy.answer(Reply(400, body, content_type), "putRecord")
        mood = world.platform.save_mood("calm", world.ada)
        refused.append(world.sync("mood", mood))
    proxy.be_honest()
    moods = world.services.storage.database["moods"]
    items = {
        "published": str(published),
        "refused": str(refused[0].item.id),
        "fields": SHORT[:400],
    }
    moods.insert_one({"_id": SHORT[:400], "mood": HOSTILE, "user": world.ada, "when": now()})
    moods.insert_one({"mood": "calm", "user": CONTROLS, CONTROLS.replace("\0", ""): 1})
    stateful = ObjectId()
    fields = {"mood": "calm", "user": world.ada, "when": now(), "code": LONG, "slug": LONG}
    moods.insert_one({"_id": stateful, **fields, "atproto": _state()})
    moods.insert_one({"mood": "calm", "user": world.ada, "atproto": _skipped()})
    items["state"] = str(stateful)
    _park(world, proxy)
    return Platform(world, proxy, items, tuple(refused))


def _refusals() -> Iterator[tuple[bytes, str]]:
    yield json.dumps({"error": "Bad", "message": SHORT + "\ud800"}).encode(), "application/json"
    yield json.dumps({"error": HOSTILE, "message": LONG}).encode(), "application/json"
    yield json.dumps({"error": "Bad", "message": WORST[:90_000]}).encode(), "application/json"
    yield f"<html>{HOSTILE}".encode(), "text/html"
    yield b'{"message":' + b"[" * 90_000, "application/json"


def _state() -> dict[str, object]:
    """Build an `atproto` field in which every text is hostile."""
    at = datetime.now(UTC)
    error = {"step": LONG, "code": SHORT, "message": LONG, "permanent": True, "at": at}
    blob = {"cid": LONG, "mimeType": LONG, "size": 1, "source": LONG, "key": LONG}
    return {
        "status": "failed",
        "error": error,
        "reason": SHORT,
        "uri": LONG,
        "cid": LONG,
        "rkey": LONG,
        "fingerprint": LONG,
        "blobs": {"image": {**blob, "error": error}},
        "links": {"file": LONG},
        "lease": {"token": LONG, "holder": LONG, "until": at},
    }


def _skipped() -> dict[str, object]:
    return {"status": "skipped", "reason": SHORT}


def _add_orphan(world: World) -> None:
    """Write a record with hostile fields, as another program with the account's password can."""
    ada = account(world, world.ada)
    client = PdsClient(world.environ["PDS_URL"])
    session = client.create_session(ada.did, ada.password)
    record = {"mood": SHORT, "ref": CONTROLS, "when": CONTROLS, CONTROLS: CONTROLS}
    key = RecordKey(ada.did, "computer.aesthetic.mood", "3k2aaaaaaaa2a")
    client.put_record(session.access, key, record, None)
    client.close()


def _park(world: World, proxy: Proxy) -> None:
    """Have the PDS refuse bob's login with a hostile text."""
    handles = world.services.storage.database
    handles["@handles"].update_one({"_id": world.bob}, {"$set": {"handle": SHORT}})
    handles["users"].update_one({"_id": world.bob}, {"$set": {"atproto.handle": SHORT}})
    with Redis.from_url(world.environ["REDIS_URL"]) as redis:
        for name in redis.scan_iter("*:session:*"):
            redis.delete(name)
    body = json.dumps({"error": "AccountTakedown", "message": LONG[:90_000]}).encode()
    proxy.answer(Reply(400, body), "createSession")
    world.sync("mood", world.platform.save_mood("calm", world.bob))
    proxy.be_honest()


def _hostile_record(proxy: Proxy) -> None:
    """Have the PDS answer getRecord with hostile fields only."""
    value = {"mood": HOSTILE, CONTROLS: [LONG], "when": CONTROLS, "nested": {CONTROLS: LONG}}
    answer = {"uri": _URI, "cid": "bafyother", "value": value}
    proxy.answer(Reply(200, json.dumps(answer).encode()), "getRecord")


@pytest.fixture
def hostile_pds(platform: Platform) -> Iterator[Platform]:
    """Return the platform while its PDS sends hostile records."""
    _hostile_record(platform.proxy)
    yield platform
    platform.proxy.be_honest()


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "failures",
        "accounts",
        "audit",
        "backfill --dry-run",
        "doctor",
    ],
)
def test_no_command_prints_controls(platform: Platform, command: str) -> None:
    """Whatever it lists."""
    assert faults(call(platform.world, *command.split()).output) == set()


@pytest.mark.parametrize("command", ["status", "failures", "accounts", "audit", "doctor"])
def test_no_json_has_controls(platform: Platform, command: str) -> None:
    """A program may print its texts as they are."""
    assert json_faults(call(platform.world, command, "--json").stdout) == set()


@pytest.mark.parametrize(
    ("uri", "cid"), [(_URI + "\u202e", "bafyother"), (_URI, CONTROLS), ("x", "y")]
)
def test_record_with_a_hostile_uri_or_cid_is_not_read(
    platform: Platform, uri: str, cid: str
) -> None:
    """These two are saved on documents, and become parts of other calls."""
    body = {"uri": uri, "cid": cid, "value": {}}
    platform.proxy.answer(Reply(200, json.dumps(body).encode()), "getRecord")
    output = platform.show("published")
    platform.proxy.be_honest()
    reason = "the PDS sent an answer that cannot be read; is PDS_URL right?"
    assert output.endswith(f"\nThe record cannot be read: {reason}\n")


@pytest.mark.parametrize("item", ["published", "refused", "fields", "state"])
def test_show_prints_no_controls(hostile_pds: Platform, item: str) -> None:
    """Whether the document, its state or the record on the PDS is hostile."""
    assert faults(hostile_pds.show(item)) == set()
    assert json_faults(hostile_pds.show(item, "--json")) == set()


def test_error_of_a_command_has_no_controls(platform: Platform) -> None:
    """The name of an account may be copied from a hostile document."""
    output = call(platform.world, "accounts", "--resume", f"{SHORT}2").output
    assert output.startswith("Error: ")
    assert faults(output) == set()


def test_saved_errors_are_printable_and_bounded(platform: Platform) -> None:
    """The document keeps what the PDS said, for all programs that read it."""
    moods = platform.world.services.storage.database["moods"]
    for outcome in platform.failed:
        error = mapping(mapping(moods.find_one({"_id": outcome.item.id}))["atproto"])["error"]
        message = str(mapping(error)["message"])
        assert message.startswith("the PDS answered 400")
        assert (message.isprintable(), len(message) < 2000) == (True, True)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_item_log_has_no_controls(platform: Platform, log_format: str) -> None:
    """One outcome is one line."""
    logger, stream = logging.getLogger("worker.sync.item_log"), io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)  # items that are retried are no warnings
    set_formatter(logger, log_format)
    try:
        for outcome in platform.failed:
            StructuredItemLog(NULL_METRICS, "live").record(outcome)
    finally:
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(handler)
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(platform.failed)
    assert faults(stream.getvalue(), max_line=3000) == set()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/failures",
        f"/failures?type=mood&code={quote(SHORT)}",
        "/accounts",
        f"/search?q={quote(CONTROLS)}",
        "/metrics",
        "/item?type=mood&id={published}",
        "/item?type=mood&id={refused}",
        "/item?type=mood&id={fields}",
        "/item?type=mood&id={state}",
    ],
)
def test_no_page_has_controls(hostile_pds: Platform, path: str) -> None:
    """Neither in its text, its title and its attributes nor in its headers."""
    ids = {name: quote(item) for name, item in hostile_pds.items.items()}
    answer = _get(hostile_pds, path if "{0}" in path else path.format(**ids))
    assert answer.status_code in {200, 303, 404}
    assert faults(answer.text) == set()
    assert "<b>[red]" not in answer.text
    assert all(value.isprintable() for value in answer.headers.values())


def _get(platform: Platform, path: str) -> httpx.Response:
    app = create_app(platform.world.services, WebSettings(_LOGIN[0], Secret(_LOGIN[1])))

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.get(path, auth=_LOGIN)

    return asyncio.run(get())
