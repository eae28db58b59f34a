"""Services that do not respond: named with their address and setting, the rest shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from bson import ObjectId
from click.testing import Result

from tests.scene import Scene
from tests.terminal import call
from tests.world import World

REFUSED = "127.0.0.1:9"
SECRET = "s3cret"
URLS: Mapping[str, Mapping[str, str]] = {
    "MongoDB": {
        "MONGODB_CONNECTION_STRING": f"mongodb://me:{SECRET}@AT/",
        "MONGODB_SERVER_SELECTION_SECONDS": "0.1",
    },
    "Redis": {"REDIS_URL": f"redis://me:{SECRET}@AT/0"},
    "PDS": {"PDS_URL": "https://AT"},
    "directory": {"DID_RESOLVER": "https://AT"},
}
ITEM = "65f0c0ffee65f0c0ffee65f0"
# Of each command and missing service, the exit code.
CASES = {
    **{
        (words, "MongoDB"): 2
        for words in (
            "init",
            "status",
            "failures",
            "retry --all",
            f"retry {ITEM}",
            "backfill",
            "restore ADA",
            "audit",
            "accounts",
            "removals",
            "wipe ADA --yes",
            "forget ADA --yes",
            f"sync mood {ITEM}",
            f"show {ITEM}",
            "rotate-keys --yes",
        )
    },
    ("doctor", "MongoDB"): 1,
    ("status", "Redis"): 2,
    ("retry --all", "Redis"): 3,
    ("accounts", "Redis"): 2,
    ("backfill", "Redis"): 2,
    ("enqueue mood ITEM", "Redis"): 2,
    ("show ITEM", "Redis"): 2,
    ("doctor", "Redis"): 1,
    ("show ITEM", "PDS"): 2,
    ("sync mood ITEM", "PDS"): 3,
    ("wipe ADA --yes", "PDS"): 2,
    ("doctor", "PDS"): 1,
    ("show ITEM", "directory"): 2,
    ("sync mood ITEM", "directory"): 3,
    ("doctor", "directory"): 1,
}


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    """A platform with a published and a failed mood."""
    scene.world.publish_mood("calm")
    scene.world.publish_mood("")
    return scene.world


def published(world: World) -> ObjectId:
    """Return the id of the mood that is published."""
    document = world.services.storage.database["moods"].find_one({"mood": "calm"})
    assert document
    item = document["_id"]
    assert isinstance(item, ObjectId)
    return item


def call_without(world: World, words: str, service: str, at: str = REFUSED) -> Result:
    """Run a command with another address of a service."""
    names = {"ADA": world.ada, "ITEM": str(published(world))}
    environ = {name: value.replace("AT", at) for name, value in URLS[service].items()}
    forget_hosts(world)
    return call(world, *(names.get(word, word) for word in words.split()), **environ)


def forget_hosts(world: World) -> None:
    """Delete from Redis which PDS each account has, and which directories were down."""
    redis = world.services.storage.redis
    for name in redis.scan_iter("media-atproto:*"):
        if b":home:" in name or b":directory:" in name:
            redis.delete(name)


@pytest.mark.parametrize(
    ("words", "service"), CASES, ids=[" without ".join(case) for case in CASES]
)
def test_a_missing_service_is_named(world: World, words: str, service: str) -> None:
    """With its address and its setting, without its password, and with the usual exit code."""
    result = call_without(world, words, service)
    assert result.exit_code == CASES[words, service], result.output
    assert REFUSED in result.output
    assert next(iter(URLS[service])) in result.output
    assert SECRET not in result.output
    assert "Traceback" not in result.output


def test_show_without_the_pds_shows_all_else(world: World) -> None:
    """Document, state and error are in MongoDB; a read is not said to be carried out."""
    forget_hosts(world)
    item = world.publish_mood("calm as ever")
    result = call_without(world, f"show {item}", "PDS")
    assert (result.exit_code, result.stderr) == (2, "")
    state = world.platform.state("mood", item)
    for told in (f"mood {item}: synced", state["uri"], state["cid"], "calm", world.ada):
        assert str(told) in result.stdout
    assert "carried out" not in result.output
    assert result.stdout.endswith(
        f"The record cannot be read: no answer from the PDS at {REFUSED} (ConnectError). "
        "Check that the PDS is running, and PDS_URL or the DID document of the account.\n"
    )
    told = json.loads(call_without(world, f"show {item} --json", "PDS").stdout)
    assert (told["state"]["status"], told["record"], told["equal"]) == ("synced", None, None)
    assert told["error"]["code"] == "pds_unreachable"


@pytest.mark.parametrize(("words", "code"), {"failures": 1, "removals": 0, "init": 0}.items())
def test_commands_that_read_mongodb_need_nothing_else(world: World, words: str, code: int) -> None:
    """They print what they always print."""
    forget_hosts(world)
    world.publish_mood("")
    away = {"REDIS_URL": f"redis://{REFUSED}/0", "PDS_URL": f"https://{REFUSED}"}
    result = call(world, words, **away)
    assert (result.exit_code, result.stderr) == (code, "")
    assert result.stdout == call(world, words).stdout


def test_accounts_without_redis_lists_those_with_pending_items(world: World) -> None:
    """Until when they are blocked is in Redis only."""
    database = world.services.storage.database
    error = {"step": "account", "code": "wrong_password", "message": "refused", "permanent": False}
    state = {"status": "pending", "error": {**error, "at": datetime.now(UTC)}}
    database["moods"].insert_one({"mood": "waits", "user": world.bob, "atproto": state})
    result = call_without(world, "accounts", "Redis")
    assert result.exit_code == 2
    (row,) = [line.split() for line in result.stdout.splitlines() if "wrong_password" in line][:1]
    assert row[1:5] == [world.dids[world.bob], "1", "-", "wrong_password"]
    assert "blocked, and the rate limits, are unknown. Redis did not answer" in result.stderr


def test_enqueue_without_redis_prints_one_clear_line(world: World) -> None:
    """No task call, and no promise of a sweep that knows nothing of the item."""
    result = call_without(world, f"enqueue mood {ITEM}", "Redis")
    assert result.output == (
        f"Error: the queue did not accept mood {ITEM}. REDIS_URL names {REFUSED}: "
        "check that this is right, and that Redis is running there.\n"
    )


@pytest.mark.parametrize("service", ["MongoDB", "Redis", "PDS", "directory"])
def test_a_name_without_an_address_is_named(world: World, service: str) -> None:
    """DNS does not know it."""
    result = call_without(world, "show ITEM", service, at="nowhere.invalid:1")
    assert (result.exit_code, "nowhere.invalid:1" in result.output) == (2, True)
    assert SECRET not in result.output


@pytest.mark.parametrize("service", ["MongoDB", "Redis"])
def test_a_wrong_password_is_named_with_the_address(world: World, service: str) -> None:
    """Not quoted."""
    name, urls = next(iter(URLS[service])), URLS[service]
    at = world.environ[name].partition("://")[2].partition("/")[0].rpartition("@")[2]
    environ = {name: urls[name].replace("AT", at)}
    result = call(world, "accounts", **environ)
    assert result.exit_code == 2
    assert result.stderr.endswith(
        f"does not accept the user or the password in {name}. The address is {at}.\n"
    )
    assert SECRET not in result.output


def test_a_missing_mongodb_is_reported_once(world: World) -> None:
    """The setting and the address are not repeated."""
    result = call_without(world, "failures", "MongoDB")
    assert result.stderr == (
        "Error: MongoDB did not answer (ServerSelectionTimeoutError). MONGODB_CONNECTION_STRING "
        f"names {REFUSED}: check that this is right, and that MongoDB is running there.\n"
    )
