"""`media-atproto doctor`: real services, damaged one at a time, and what it says of each."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from click.testing import Result
from cryptography.fernet import Fernet

from tests import terminal
from tests.bulk import account, set_password
from tests.canaries import Net
from tests.contract.web_server import serving
from tests.contract.wiping import pds_away
from tests.scene import Scene
from tests.system.test_packaged_type import pretend, with_path
from tests.world import World
from worker.core.secrets import Secret, Vault
from worker.dev.stack import Stack
from worker.operations.doctor import CheckResult, Level, examine
from worker.operations.key_rotation import re_encrypt
from worker.pds.account_cache import AccountCache

_NOBODY = "127.0.0.1:9"
_LOOPBACK = {"MEDIA_STORE_ALLOWED_NETWORKS": "127.0.0.0/8"}


@pytest.fixture
def world(scene: Scene) -> World:
    """The platform; Redis knows nothing of it."""
    with redis.Redis.from_url(scene.environ["REDIS_URL"]) as client:
        client.flushdb()
    return scene.world


def call(world: World, *arguments: str, **environ: str) -> Result:
    """Run `doctor` in this process."""
    return terminal.call(world, "doctor", *arguments, **environ)


def findings(result: Result) -> dict[tuple[str, str], CheckResult]:
    """Return what `--json` told, by subject and check."""
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return {
        (line["subject"], line["check"]): CheckResult(**{**line, "level": Level(line["level"])})
        for line in lines
    }


def examined(world: World, *arguments: str, **environ: str) -> dict[tuple[str, str], CheckResult]:
    """Return what the command finds that is not right, by subject and check."""
    every = findings(call(world, "--json", *arguments, **environ))
    return {place: finding for place, finding in every.items() if finding.level is not Level.OK}


def encrypt(world: World, key: str) -> None:
    """Store all passwords under a key."""
    re_encrypt(world.services.storage.accounts, Vault([Secret(key)]))


def test_a_sound_platform_is_told_to_be_so(world: World) -> None:
    """Exit code 0, a line for each thing looked at; the passwords here are plain."""
    result = call(world)
    assert result.exit_code == 0, result.output
    assert "fail" not in result.stdout
    assert "run media-atproto rotate-keys" in result.stdout
    for text in ("valkey", "0.5.35", "6.0.5", "can log in", "all 4 are valid"):
        assert text in result.stdout


def test_sessions_that_there_are_are_used(world: World) -> None:
    """Logins are limited: the second run makes none."""
    assert call(world, "--accounts", "all").exit_code == 0
    before = set(AccountCache(world.services.storage.redis).read_all())
    assert len(before) == 3
    assert call(world, "--accounts", "all").exit_code == 0
    assert set(AccountCache(world.services.storage.redis).read_all()) == before


def test_an_eviction_policy_that_loses_messages_is_told(world: World, scene: Scene) -> None:
    """And, as a warning, that nothing is kept over a restart."""
    with redis.Redis.from_url(scene.environ["REDIS_URL"]) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        client.set("cart:7", "somebody else's")
        try:
            found = examined(world)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("appendonly", "yes")
            client.delete("cart:7")
    assert found["redis", "eviction"].level is Level.FAIL
    assert found["redis", "persistence"].level is Level.WARN
    assert "cart:7" in found["redis", "database"].found


def test_missing_or_conflicting_index_is_named(world: World) -> None:
    """`init` makes the missing one; for the other, its advice is repeated."""
    moods = world.services.storage.database["moods"]
    moods.drop_index("atproto_due")
    assert "moods.atproto_due" in examined(world)["mongodb", "indexes"].found
    moods.create_index("colour", name="atproto_due")
    found = examined(world)["mongodb", "indexes"]
    assert "cannot be created" in found.found
    assert "dropIndex" in found.advice
    moods.drop_index("atproto_due")
    assert terminal.call(world, "init").exit_code == 0
    assert ("mongodb", "indexes") not in examined(world)


def test_a_wrong_password_of_the_guests_account_is_told(world: World) -> None:
    """Neither it nor the right one is printed."""
    right = set_password(world, "art-guest", "canary-wrong")
    result = call(world)
    set_password(world, "art-guest", right)
    assert result.exit_code == 1
    assert "the stored password is refused" in result.stdout
    net = Net({"wrong": "canary-wrong", "right": right})
    assert net.caught(result.output) == set()


def test_users_that_do_not_log_in_are_counted(world: World) -> None:
    """Only when asked for: --accounts."""
    right = set_password(world, world.ada, "not it")
    without, with_users = examined(world), examined(world, "--accounts", "10")
    set_password(world, world.ada, right)
    assert ("accounts", "users") not in without
    found = with_users["accounts", "users"]
    assert found.level is Level.FAIL
    assert "1 of 3" in found.found
    assert account(world, world.ada).handle in found.found


def test_keys_that_open_no_password_are_told(world: World) -> None:
    """Each with its subject; the keys are in no line."""
    lost = Fernet.generate_key().decode()
    users = world.services.storage.database["users"]
    kept = list(users.find({}))
    encrypt(world, lost)
    result = call(world, "--json")
    for user in kept:
        users.replace_one({"_id": user["_id"]}, user)
    found = findings(result)
    assert result.exit_code == 1
    assert "no key decrypts 3" in found["accounts", "passwords"].found
    assert "no key of SECRET_KEYS" in found["accounts", "guests"].found
    keys = {"lost": lost, "ours": world.environ["SECRET_KEYS"]}
    assert Net(keys).caught(result.output) == set()


def test_a_pds_that_is_away_hides_nothing_else(own_scene: Scene, own_stack: Stack) -> None:
    """What needs it is skipped, and said to be."""
    world = own_scene.world
    with pds_away(own_stack):
        found = examined(world)
    assert found["pds", "answer"].level is Level.FAIL
    assert found["accounts", "guests"].level is Level.SKIP
    assert {subject for subject, _ in found} == {"pds", "accounts"}
    assert ("pds", "answer") not in examined(world)


def test_databases_that_are_away_hide_nothing_else(world: World) -> None:
    """The passwords in their URLs are told to nobody."""
    result = call(
        world,
        "--json",
        MONGODB_CONNECTION_STRING=f"mongodb://me:canary-mongo@{_NOBODY}/",
        MONGODB_SERVER_SELECTION_SECONDS="0.2",
        REDIS_URL=f"redis://:canary-redis@{_NOBODY}/0",
    )
    found = findings(result)
    assert result.exit_code == 1
    assert found["mongodb", "answer"].level is found["redis", "answer"].level is Level.FAIL
    assert found["pds", "version"].level is Level.OK
    assert found["mongodb", "indexes"].level is Level.SKIP
    net = Net({"mongo": "canary-mongo", "redis": "canary-redis"})
    assert net.caught(result.output) == set()


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("MONGODB_CONNECTION_STRING", "mongodb://me:canary@127.0.0.1:27017x/"),
        ("REDIS_URL", "redis://:canary@127.0.0.1:6379x/0"),
    ],
)
def test_a_url_that_no_client_understands_hides_nothing_else(
    world: World, name: str, url: str
) -> None:
    """The variable is named, its value is not quoted."""
    result = call(world, "--json", **{name: url})
    found = findings(result)
    subject = "mongodb" if name.startswith("MONGODB") else "redis"
    assert found[subject, "answer"].found.startswith(f"{name} is not ")
    assert found["pds", "version"].level is Level.OK
    assert "canary" not in result.output


def test_an_environment_that_is_incomplete_is_told_variable_by_variable(world: World) -> None:
    """Machine and types are looked at all the same."""
    result = call(world, "--json", PDS_URL="", SECRET_KEYS="canary-key", DID_RESOLVER="off")
    found = findings(result)
    assert result.exit_code == 1
    assert result.stdout.count('"environment"') == 2
    assert "canary-key" not in result.output
    assert found["types", "lexicons"].level is Level.OK
    assert found["mongodb", "all"].level is Level.SKIP


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "the store responds"), (403, "the store responds, with 403 for missing files")],
)
def test_a_store_that_does_not_list_files_is_accepted(
    world: World, tmp_path: Path, status: int, said: str
) -> None:
    """403 for a file that is not there is an answer, too."""
    with serving(tmp_path) as site:
        site.server.missing = status
        result = call(world, "--json", MEDIA_STORE_URL=site.url, ALLOW_HTTP="1", **_LOOPBACK)
    found = findings(result)["media store", "answer"]
    assert (found.level, found.found.startswith(said)) == (Level.OK, True)


@pytest.mark.parametrize(
    ("environ", "place", "said"),
    [
        ({"MEDIA_STORE_URL": "file:///nowhere/at/all"}, ("media store", "folder"), "/nowhere/at"),
        ({"MEDIA_STORE_URL": f"http://{_NOBODY}", **_LOOPBACK}, ("media store", "answer"), ""),
        ({"DID_RESOLVER": f"http://{_NOBODY}"}, ("directory", "answer"), ""),
        ({"DID_RESOLVER": f"http://{_NOBODY}"}, ("accounts", "guests"), "did:plc:"),
    ],
)
def test_missing_store_or_directory_fails(
    world: World, environ: dict[str, str], place: tuple[str, str], said: str
) -> None:
    """An account whose PDS is not known yet cannot log in without the directory."""
    found = examined(world, **environ)[place]
    assert (found.level, said in found.found) == (Level.FAIL, True)


def test_an_item_that_is_long_overdue_is_told(world: World) -> None:
    """No worker and no beat runs here."""
    item = world.platform.save_mood("calm", world.ada)
    due = {"status": "pending", "retryAt": datetime.now(UTC) - timedelta(hours=1)}
    moods = world.services.storage.database["moods"]
    moods.update_one({"_id": item}, {"$set": {"atproto": due}})
    found = examined(world)
    moods.delete_one({"_id": item})
    assert "an item of type mood has been due for 60 minutes" in found["workers", "sweep"].found


def test_a_clock_that_is_off_is_told_of_every_service(world: World) -> None:
    """The machine's own is behind; so all others are ahead of it."""
    found = list(examine({**os.environ, **world.environ}, clock=lambda: time.time() - 100))
    clocks = {finding.subject: finding.level for finding in found if finding.check == "clock"}
    assert clocks == dict.fromkeys(("mongodb", "redis", "pds"), Level.FAIL)


def test_a_lexicon_of_a_package_that_is_wrong_hides_nothing_else(
    world: World, tmp_path: Path
) -> None:
    """Services are looked at; what needs the types is skipped."""
    pretend(tmp_path, "TAPE = 7")
    environ = with_path({**os.environ, **world.environ}, tmp_path)
    code, output, _ = terminal.run(("doctor", "--json"), environ)
    lines = [json.loads(line) for line in output.splitlines()]
    levels = {(line["subject"], line["check"]): line["level"] for line in lines}
    assert code == 1
    assert levels["types", "types"] == "fail"
    assert levels["types", "lexicons"] == levels["accounts", "guests"] == "skip"
    assert levels["mongodb", "version"] == levels["redis", "eviction"] == "ok"
    assert levels["pds", "version"] == "ok"


def test_a_number_of_accounts_that_is_none_is_wrong_usage(world: World) -> None:
    """Exit code 2."""
    assert call(world, "--accounts", "some").exit_code == 2
