"""`media-atproto accounts`: who cannot be published for, why, what waits, and trying again."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
import redis
from bson import ObjectId

from tests.bulk import account, set_password
from tests.fleet import worker
from tests.scene import Scene
from tests.terminal import call
from tests.world import World
from worker.core.clock import after
from worker.core.rate_limits import REQUEST, Cost, Resource
from worker.core.settings import Settings
from worker.pds.rate_limiter import Workload
from worker.services import build


@pytest.fixture
def world(scene: Scene) -> World:
    """The platform, with its users, but no items; Redis knows nothing."""
    for name in ("paintings", "moods", "pieces", "kidlisp"):
        scene.world.services.storage.database[name].delete_many({})
    with redis.Redis.from_url(scene.environ["REDIS_URL"]) as client:
        client.flushdb()
    return scene.world


def post_as(world: World, subject: str, nsid: str) -> None:
    """Call a procedure as an account's owner."""
    owner = account(world, subject)
    session = world.services.pds.client_of(owner.did).create_session(owner.did, owner.password)
    headers = {"Authorization": f"Bearer {session.access.reveal()}"}
    body: dict[str, str] | None = {} if nsid.endswith("deactivateAccount") else None
    world.http.post(f"/xrpc/{nsid}", json=body, headers=headers).raise_for_status()


def waiting_mood(world: World, subject: str) -> ObjectId:
    """Save a mood that cannot be published."""
    item = world.platform.save_mood("calm", subject)
    assert world.sync("mood", item).retry_at
    return item


def test_nothing_is_listed_when_all_is_well(world: World) -> None:
    """In words, and exit code 0."""
    world.sync("mood", world.platform.save_mood("calm", world.ada))
    result = call(world, "accounts")
    assert (result.exit_code, result.stdout) == (0, "No account is blocked.\n")


def test_without_redis_it_is_not_claimed_that_no_account_is_blocked(world: World) -> None:
    """Blocks are in Redis: only the error is printed."""
    result = call(world, "accounts", REDIS_URL="redis://127.0.0.1:9/0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "The times until which accounts are blocked" in result.stderr


def test_account_is_listed_with_its_reason_and_what_waits(world: World) -> None:
    """For a person, and for a program; the password is in neither."""
    right = set_password(world, world.ada, "canary-password")
    try:
        for _ in range(3):
            waiting_mood(world, world.ada)
        page, lines = call(world, "accounts"), call(world, "accounts", "--json")
    finally:
        set_password(world, world.ada, right)
    assert page.exit_code == lines.exit_code == 1
    line = json.loads(lines.stdout)["account"]
    assert line["subject"] == world.ada
    assert (line["did"], line["waiting"]) == (world.dids[world.ada], 3)
    assert line["code"] == "wrong_password"
    assert (line["until_password_changes"], line["resolved"]) == (True, False)
    until = f"the password changes or `accounts --resume {line['handle']}`"
    texts = (line["handle"], line["did"], "wrong_password", "store the current password", until)
    for text in texts:
        assert text in page.stdout
    assert str(line["until"])[:10] not in page.stdout
    assert "canary-password" not in page.output + lines.output


def test_account_whose_password_was_corrected_is_left_alone_no_more(world: World) -> None:
    """It does not count as blocked: its items wait for their next attempt, or for --resume."""
    right = set_password(world, world.ada, "not it")
    item = waiting_mood(world, world.ada)
    set_password(world, world.ada, right)
    page, lines = call(world, "accounts"), call(world, "accounts", "--json")
    line = json.loads(lines.stdout)["account"]
    assert (line["waiting"], line["until"], line["resolved"]) == (1, None, True)
    assert page.exit_code == lines.exit_code == 3
    assert page.stdout.startswith("No account is blocked.\n")
    handle = line["handle"]
    assert (
        f"{handle}: resolved: its items are tried again at {line['retry_at']}; "
        f"`media-atproto accounts --resume {handle}` retries them now\n"
    ) in page.stdout
    assert "store the current password" not in page.stdout
    assert world.sync("mood", item).status == "synced"
    assert call(world, "accounts").exit_code == 0


def test_account_without_a_did_document_is_listed(world: World) -> None:
    """Nobody knows where it lives."""
    users = world.services.storage.database["users"]
    users.update_one({"_id": world.bob}, {"$set": {"atproto.did": "did:plc:" + "a" * 24}})
    try:
        waiting_mood(world, world.bob)
        line = json.loads(call(world, "accounts", "--json").stdout)["account"]
    finally:
        users.update_one({"_id": world.bob}, {"$set": {"atproto.did": world.dids[world.bob]}})
    assert (line["code"], line["waiting"]) == ("did_not_found", 1)


def test_account_that_is_right_again_is_resumed_at_once(world: World, scene: Scene) -> None:
    """Its owner has come back: nobody waits for the quarter of an hour to be over."""
    post_as(world, world.ada, "com.atproto.server.deactivateAccount")
    items = [waiting_mood(world, world.ada) for _ in range(2)]
    post_as(world, world.ada, "com.atproto.server.activateAccount")
    assert call(world, "accounts").exit_code == 1
    result = call(world, "accounts", "--resume", f"@{account(world, world.ada).screen_name}")
    assert (result.exit_code, result.stdout) == (0, "2 enqueued: 2 mood\n")
    with worker(scene.environ, scene.folder):
        for item in items:
            scene.wait_for_status("mood", item, "synced")
    assert call(world, "accounts").exit_code == 0


def test_resume_ends_the_wait_after_a_wrong_password(world: World) -> None:
    """Which has no other end than a new password."""
    right = set_password(world, world.ada, "not it")
    try:
        waiting_mood(world, world.ada)
        line = json.loads(call(world, "accounts", "--json").stdout)["account"]
        assert datetime.fromisoformat(line["until"]) > after(80 * 86_400)
        handle = f"@{account(world, world.ada).screen_name}"
        assert call(world, "accounts", "--resume", handle).exit_code == 0
        line = json.loads(call(world, "accounts", "--json").stdout)["account"]
        assert (line["waiting"], line["until"]) == (1, None)
    finally:
        set_password(world, world.ada, right)


def test_budgets_that_are_spent_are_listed(world: World) -> None:
    """Why nothing happens, and until when; it is no reason for an exit code."""
    limits = {"RATE_LIMITS": "* points_hour=10"}
    services = build(Settings.load({**world.environ, **limits}))
    limiter = services.pds.rate_limiter.for_host("pds.example", Workload.LIVE)
    cost = (Cost(Resource.POINTS, 9, world.dids[world.ada]), REQUEST)
    limiter.settle(limiter.acquire("write", cost), {})
    services.close()
    page, lines = call(world, "accounts", **limits), call(world, "accounts", "--json", **limits)
    assert page.exit_code == lines.exit_code == 0
    line = json.loads(lines.stdout)["budget"]
    assert (line["pds"], line["limit"], line["used"]) == ("pds.example", "points_hour", 9)
    assert "9 of 10" in page.stdout


def test_services_that_are_away_are_trouble(world: World) -> None:
    """Exit code 2, and nothing of the URL's password."""
    result = call(world, "accounts", REDIS_URL="redis://:s3cret@127.0.0.1:9/0")
    assert result.exit_code == 2
    assert "Redis did not answer" in result.stderr
    assert "s3cret" not in result.output
