"""The commands over items and accounts: what they print, change and exit with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from bson import ObjectId
from click.testing import Result

from tests.pictures import pixel_art
from tests.terminal import call, run, run_on_terminal
from tests.world import World, Worlds
from worker.core.clock import now
from worker.core.secrets import Purpose, Secret, Vault
from worker.dev.stack.environment import as_env_file

NOWHERE = "redis://:s3cret@127.0.0.1:9/0"


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """A platform of this module's own."""
    with worlds.open(RETRY_BASE_SECONDS="60") as opened:
        yield opened


def saved_mood(world: World, text: str = "calm") -> ObjectId:
    """Save a mood of ada's."""
    return world.platform.save_mood(text, world.ada)


def synced_painting(world: World, slug: str) -> ObjectId:
    """Save and sync a painting of ada's."""
    world.platform.store(f"{slug}.png", pixel_art(), world.ada)
    item = world.platform.save_painting(slug, world.ada)
    world.sync("painting", item)
    return item


def test_sync_publishes_and_tells_each_step(world: World, bare_environ: dict[str, str]) -> None:
    """The steps are on stderr, so that the outcome on stdout can go into a script."""
    item = saved_mood(world)
    environ = {**bare_environ, **world.environ}
    code, output, error = run(["sync", "mood", str(item)], environ)
    uri = world.platform.state("mood", item)["uri"]
    assert (code, output) == (0, f"mood {item}: synced {uri}\n")
    steps = error.splitlines()
    assert steps[0].startswith("plan: publish to ada-")
    assert any(step.startswith("written: at://") for step in steps)
    assert world.record("mood", item)["text"] == "calm"


def test_sync_writes_again_when_forced(world: World) -> None:
    """What is known to be right is left alone, unless one insists."""
    item = saved_mood(world)
    world.sync("mood", item)
    assert "nothing to write" in call(world, "sync", "mood", str(item)).stderr
    assert "written: at://" in call(world, "sync", "mood", str(item), "--force").stderr


def test_sync_exit_code_depends_on_the_outcome(world: World) -> None:
    """0: nothing to do, 3: it will be retried, 1: a person has to correct it."""
    nuked = saved_mood(world)
    world.sync("mood", nuked)
    world.platform.edit("mood", nuked, nuked=True)
    world.platform.store("broken.png", b"no image", world.ada)
    broken = world.platform.save_painting("broken", world.ada)
    for type_name, item, code, said in (
        ("mood", world.platform.save_mood("boo", None), 0, "skipped guests_not_published"),
        ("mood", nuked, 0, "removed nuked"),
        ("painting", world.platform.save_painting("never-arrived", world.ada), 3, "partial "),
        ("painting", broken, 1, "partial the file is not a PNG"),
        ("mood", saved_mood(world, ""), 1, "failed field 'mood' is missing"),
    ):
        result = call(world, "sync", type_name, str(item))
        assert result.exit_code == code
        assert result.stdout.startswith(f"{type_name} {item}: {said}")
        assert ("(missing) (again at 20" in result.stdout) == (code == 3)


def test_sync_exits_with_3_when_another_run_is_at_it(world: World) -> None:
    """The item is left to the run that has it."""
    item = saved_mood(world)
    others: list[Result] = []

    def sync_too(_step: str) -> None:
        if not others:
            others.append(call(world, "sync", "mood", str(item)))

    world.sync("mood", item, observer=sync_too)
    assert others[0].exit_code == 3
    assert "another run is at work on it" in others[0].stdout


def test_sync_removes_what_a_deleted_document_left(world: World) -> None:
    """With its user named; without, nobody knows whose record it was."""
    item = saved_mood(world)
    world.sync("mood", item)
    world.platform.delete("mood", item)
    result = call(world, "sync", "mood", str(item))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--user USER" in result.stderr
    result = call(world, "sync", "mood", str(item), "--user", world.ada)
    assert result.exit_code == 0
    assert "removed at://" in result.stdout
    assert world.records("mood", item) == []


def test_sync_exits_with_3_when_a_removal_is_put_off(world: World) -> None:
    """The sweep will see to it, and it is not done."""
    item = saved_mood(world)
    world.sync("mood", item)
    world.platform.delete("mood", item)
    arguments = ("sync", "mood", str(item), "--user", world.ada)
    result = call(world, *arguments, PDS_URL="http://127.0.0.1:9")
    assert result.exit_code == 3
    assert "could not be removed" in result.stdout
    assert call(world, *arguments).exit_code == 0


@pytest.mark.parametrize("command", ["sync", "enqueue", "show"])
def test_wrong_item_is_wrong_use(world: World, command: str) -> None:
    """An unknown type is answered with the known ones, at once; an impossible id as well."""
    result = call(world, command, "movie", "1")
    assert (result.exit_code, result.stdout) == (2, "")
    for name in ("painting", "mood", "piece", "kidlisp"):
        assert name in result.stderr
    assert call(world, command, "mood", "").exit_code == 2
    assert call(world, command, "mood").exit_code == 2


def test_enqueue_hands_the_item_to_the_queue(world: World, bare_environ: dict[str, str]) -> None:
    """It needs the queue's address alone, and the message waits there for a worker."""
    item = ObjectId()
    url = world.environ["REDIS_URL"]
    code, output, error = run(["enqueue", "mood", str(item)], {**bare_environ, "REDIS_URL": url})
    assert (code, output) == (0, f"mood {item}: enqueued\n"), error
    with redis.Redis.from_url(url) as queue:
        newest = json.loads(queue.lindex("live", 0) or b"")
    assert (newest["headers"]["task"], str(item) in newest["headers"]["argsrepr"]) == (
        "sync_media",
        True,
    )


def test_enqueue_fails_when_the_queue_is_away(bare_environ: dict[str, str]) -> None:
    """With the variable to look at, and without the password in it."""
    code, output, error = run(["enqueue", "mood", "1"], {**bare_environ, "REDIS_URL": NOWHERE})
    assert (code, output) == (2, "")
    assert "Error: the queue did not accept mood 1. REDIS_URL names 127.0.0.1:9" in error
    assert "s3cret" not in error
    assert "Traceback" not in error


def test_show_of_an_item_with_an_error_is_not_green(world: World) -> None:
    """Its record is right, but its last run could not confirm it."""
    item = synced_painting(world, "unconfirmed")
    error = {"step": "read", "code": "pds_5xx", "message": "502", "at": now()}
    world.platform.edit("painting", item, **{"atproto.error": error})
    last = call(world, "show", "painting", str(item)).stdout.splitlines()[-1]
    assert last == "No differences found, but the last run ended with an error."


def test_show_of_a_synced_item_finds_nothing_wrong(world: World) -> None:
    """Document, state, record and blob are there to read; a password is not."""
    item = synced_painting(world, "shown")
    result = call(world, "show", "painting", str(item))
    assert result.exit_code == 0
    state = world.platform.state("painting", item)
    for told in ("shown", state["uri"], state["cid"], "synced", "image/png", world.ada):
        assert str(told) in result.stdout
    assert result.stdout.endswith("No differences found.\n")
    user = world.services.storage.database["users"].find_one({"_id": world.ada})
    assert user is not None
    assert user["atproto"]["password"] not in result.output  # type: ignore[index]


def test_show_names_what_differs(world: World) -> None:
    """An edit that has not been published yet, field by field, and nothing is changed by it."""
    item = saved_mood(world, "before")
    world.sync("mood", item)
    world.platform.edit("mood", item, mood="after")
    before = world.platform.state("mood", item)
    result = call(world, "show", "mood", str(item))
    assert result.exit_code == 1
    for name in ("mood", "text"):
        assert f'  {name}   "after"   "before"\n' in result.stdout
    assert result.stdout.endswith("2 differences found.\n")
    assert world.platform.state("mood", item) == before


def test_show_finds_an_unexpected_and_an_impossible_record(world: World) -> None:
    """A deleted item still has its record; the field that a record lacks is named."""
    deleted, invalid = saved_mood(world), saved_mood(world, "")
    world.sync("mood", deleted)
    world.platform.edit("mood", deleted, deleted=True)
    for item, said in (
        (deleted, "(record)  absent"),
        (invalid, "The record cannot be built: field 'mood' is missing"),
    ):
        result = call(world, "show", "mood", str(item))
        assert (result.exit_code, said in result.stdout) == (1, True)
    world.sync("mood", invalid)
    result = call(world, "show", "mood", str(invalid))
    assert result.stdout.count("field 'mood' is missing") == 1


def test_show_finds_a_missing_blob(world: World, pds_blobs: Path) -> None:
    """A blob that the PDS has lost, and one that never was."""
    item = synced_painting(world, "lost-blob")
    blobs = world.platform.state("painting", item)["blobs"]
    assert isinstance(blobs, dict)
    (pds_blobs / world.dids[world.ada] / blobs["thumbnail"]["cid"]).unlink()
    result = call(world, "show", "painting", str(item))
    assert (result.exit_code, "the PDS does not have it" in result.stdout) == (1, True)
    bare = world.platform.save_painting("no-image", world.ada)
    world.sync("painting", bare)
    result = call(world, "show", "painting", str(bare))
    assert (result.exit_code, "no file in bucket" in result.stdout) == (1, True)


def test_show_gives_json_to_programs(world: World) -> None:
    """With the same exit codes."""
    item = saved_mood(world)
    result = call(world, "show", "mood", str(item), "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["equal"], told["record"]) == (1, False, None)
    world.sync("mood", item)
    result = call(world, "show", "mood", str(item), "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["equal"]) == (0, True)
    assert told["document"]["mood"] == told["record"]["value"]["text"] == "calm"
    assert told["state"]["status"] == "synced"


def test_show_draws_tables_on_a_terminal(world: World, bare_environ: dict[str, str]) -> None:
    """In colour, and still with nothing of a document that the terminal would obey."""
    item = saved_mood(world, "[bold]\x1b]0;pwned\x07")
    world.sync("mood", item)
    world.platform.edit("mood", item, mood="after")
    environ = {**bare_environ, **world.environ}
    code, shown = run_on_terminal(["show", "mood", str(item)], environ)
    assert code == 1
    assert "\x1b[31m2 differences found.\x1b[0m" in shown
    assert r"[bold]\x1b]0;pwned\x07" in shown
    assert "\x1b]" not in shown
    assert "\x07" not in shown
    piped = call(world, "show", "mood", str(item))
    assert "\x1b" not in piped.stdout
    assert r"\x1b]0;pwned\x07" in piped.stdout


def test_show_of_an_unknown_item_exits_with_2(world: World) -> None:
    """1 is for a difference."""
    result = call(world, "show", "mood", str(ObjectId()))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no mood matches" in result.stderr


def test_new_key_is_fit_for_secret_keys(world: World) -> None:
    """Another one each time, on a line of its own."""
    keys = [call(world, "new-key").stdout for _ in range(2)]
    assert keys[0] != keys[1]
    for key in keys:
        vault = Vault([Secret(key.removesuffix("\n"))])
        sealed = vault.seal("password", Purpose.PASSWORD, "did:plc:x")
        assert vault.open_password(sealed, "did:plc:x").reveal() == "password"


def test_env_file_gives_what_the_environment_lacks(
    world: World, tmp_path: Path, bare_environ: dict[str, str]
) -> None:
    """The file is named before the command; what the environment has, wins."""
    file = tmp_path / "services"
    file.write_text(as_env_file({**world.environ, "MONGODB_NAME": "wrong"}))
    environ = {**bare_environ, "MONGODB_NAME": world.environ["MONGODB_NAME"]}
    item = saved_mood(world)
    code, _, error = run(["--env-file", file, "rotate-keys", "--dry-run"], environ)
    assert code == 0, error
    code, _, error = run(["rotate-keys", "--dry-run"], environ)
    assert code == 2
    assert "PDS_URL is missing" in error
    code, _, error = run(["--env-file", tmp_path / "none", "sync", "mood", str(item)], environ)
    assert (code, "does not exist" in error) == (2, True)
