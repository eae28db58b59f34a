"""The commands that remove an account's records: what they ask, print, change and exit with."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from bson import ObjectId

from tests.bulk import MOOD, account, new_user, repo, save_moods, start_over, sync_batch
from tests.contract.proxy import open_proxy
from tests.environments import changed
from tests.terminal import call, run_on_terminal, started
from tests.waiting import wait_for
from tests.world import World, Worlds
from worker.core.records import Write
from worker.dev.stack import Stack
from worker.media import MEDIA_TYPES


@pytest.fixture(scope="module")
def opened(worlds: Worlds) -> Iterator[World]:
    """Open a world for this module."""
    with worlds.open(RETRY_BASE_SECONDS="60", REPO_LOCK_SECONDS="2") as world:
        yield world


@pytest.fixture
def world(opened: World) -> World:
    """Return the world without documents and records."""
    start_over(opened)
    return opened


def published_moods(world: World, count: int) -> list[ObjectId]:
    """Save and publish moods of ada's."""
    moods = save_moods(world, count)
    for start in range(0, count, 100):
        sync_batch(world, "mood", moods[start : start + 100])
    return moods


def statuses(world: World) -> list[object]:
    """Return what the states of all moods say."""
    return [state.get("status") for state in world.platform.states("mood").values()]


def count_of(world: World) -> int:
    """Return how many moods ada's repo holds."""
    return len(list(repo(world, world.ada).records(MOOD.nsid)))


def test_wipe_rehearsal_counts_and_changes_nothing(world: World) -> None:
    """Whose account it is, and how many records and states by type."""
    published_moods(world, 3)
    handle = account(world, world.ada).handle
    result = call(world, "wipe", handle, "--dry-run", "--type", "mood", "--type", "piece")
    assert result.exit_code == 0
    assert result.stdout == (
        f"{world.ada}: {handle}, {world.dids[world.ada]}\n"
        "type   records  states to clear\n"
        "mood   3        3\n"
        "piece  0        0\n"
        "Nothing was changed.\n"
    )
    assert count_of(world) == 3
    assert statuses(world) == ["synced"] * 3


def test_wipe_removes_all_records(world: World) -> None:
    """The second time there is nothing to remove."""
    published_moods(world, 3)
    result = call(world, "wipe", f"@{account(world, world.ada).screen_name}", "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "mood      3                3\n" in result.stdout
    assert count_of(world) == 0
    assert statuses(world) == ["removed"] * 3
    again = call(world, "wipe", world.ada, "--yes")
    assert again.exit_code == 0
    assert again.stdout.endswith("There is nothing to remove.\n")


def test_a_wiped_item_is_as_expected_and_the_restore_is_named(world: World) -> None:
    """`show` and `audit` agree: a missing record is no difference, an existing one is."""
    (item,) = published_moods(world, 1)
    before = world.platform.state("mood", item)
    handle = account(world, world.ada).handle
    wiped = call(world, "wipe", handle, "--yes", "--type", "mood")
    restore = f"media-atproto restore {handle}"
    assert wiped.stdout.endswith(f"To publish the items again: {restore} --type mood\n")
    shown = call(world, "show", "mood", str(item))
    assert shown.exit_code == 0
    assert "Differences" not in shown.stdout
    assert shown.stdout.endswith(f"wiped: `{restore}` publishes it again\n")
    assert call(world, "audit", "--user", handle).exit_code == 0
    ada = repo(world, world.ada)
    key = ada.key(MOOD.nsid, str(before["rkey"]))
    ada.apply([Write("create", key, {"text": "?", "ref": "?"})], ada.commit())
    assert call(world, "show", "mood", str(item)).exit_code == 1


@pytest.mark.parametrize("command", ["wipe", "forget"])
def test_without_a_terminal_nobody_is_asked_and_nothing_done(world: World, command: str) -> None:
    """A script has to say `--yes`."""
    published_moods(world, 1)
    result = call(world, command, world.ada)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "give --yes, or --dry-run" in result.stderr
    assert count_of(world) == 1


@pytest.mark.parametrize("command", ["wipe", "forget"])
def test_at_a_terminal_the_name_is_to_be_typed(
    world: World, command: str, bare_environ: dict[str, str]
) -> None:
    """Another word changes nothing."""
    published_moods(world, 2)
    word = account(world, world.ada).handle if command == "wipe" else world.ada
    environ = {**bare_environ, **world.environ}
    code, shown = run_on_terminal([command, world.ada], environ, f"{word}x\n")
    assert code == 1
    assert f"That is not {word}: nothing was changed" in shown
    assert count_of(world) == 2
    code, shown = run_on_terminal([command, world.ada], environ, f"{word}\n")
    assert code == 0, shown
    assert f"type {word}" in shown
    assert count_of(world) == 0


def test_wipe_tells_what_is_left_and_why(world: World) -> None:
    """With exit code 1: it is to be run again."""
    moods = published_moods(world, 3)
    world.services.storage.store.claim(MOOD, [moods[0]], holder="worker", lease=1000)
    result = call(world, "wipe", world.ada, "--yes")
    assert result.exit_code == 1
    assert "remaining: 1 of type mood: a worker is processing it\n" in result.stdout
    assert "run the same command again" in result.stderr
    assert count_of(world) == 1


def test_wipe_reports_an_unknown_user_and_an_unavailable_pds(world: World) -> None:
    """Without a traceback; errors have exit code 2."""
    result = call(world, "wipe", "nobody.test", "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "unknown user 'nobody.test'" in result.stderr
    result = call(world, "wipe", world.ada, "--yes", PDS_URL="http://127.0.0.1:9")
    assert result.exit_code == 2
    assert "Error: no answer from the PDS" in result.stderr
    assert call(world, "wipe", world.ada, "--type", "movie").exit_code == 2
    assert call(world, "wipe").exit_code == 2


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_wipe_ended_half_way_is_run_again(
    world: World, stack: Stack, end: signal.Signals, tmp_path: Path, bare_environ: dict[str, str]
) -> None:
    """The second run waits until the lock of the first expires, and removes the rest."""
    published_moods(world, 400)
    before = world.revision(world.dids[world.ada])
    arguments = ["wipe", world.ada, "--yes"]
    with open_proxy(stack.environment["PDS_URL"]) as proxy:
        proxy.drip(pieces=3, pause=0.2)  # so that it is not over before it is ended
        environ = {**bare_environ, **changed(world.environ, {"PDS_URL": proxy.url})}
        with started(arguments, environ, tmp_path) as terminal:
            wait_for(
                lambda: world.revision(world.dids[world.ada]) != before,
                within=60,
                what="the first records to go",
            )
            os.killpg(terminal.process.pid, end)
            code = terminal.exit_code()
    assert code == (-signal.SIGKILL if end is signal.SIGKILL else 130)
    left = count_of(world)
    assert 0 < left < 400
    assert statuses(world).count("removed") <= 400 - left
    result = call(world, "wipe", world.ada, "--yes")
    assert result.exit_code == 0, result.output
    assert count_of(world) == 0
    assert statuses(world) == ["removed"] * 400
    audit = call(world, "audit")
    assert audit.exit_code == 0, audit.output


def test_forget_rehearsal_counts_and_forget_erases(world: World) -> None:
    """Thumbnails and waiting removals are counted as well."""
    published_moods(world, 2)
    counted = call(world, "forget", world.ada, "--dry-run")
    assert counted.exit_code == 0
    assert "mood      2        2\n" in counted.stdout
    assert "thumbnails: 0; pending removals: 0\n" in counted.stdout
    assert counted.stdout.endswith("Nothing was changed.\n")
    assert statuses(world) == ["synced"] * 2
    result = call(world, "forget", world.ada, "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "mood      2                2\n" in result.stdout
    reasons = {state["reason"] for state in world.platform.states("mood").values()}
    assert reasons == {"forgotten"}


def test_forget_tells_what_it_could_not_do(world: World) -> None:
    """A user without an account whose records are still in a repo: exit code 1, each time."""
    subject = new_user(world)
    sync_batch(world, "mood", save_moods(world, 1, subject), subject=subject)
    world.services.storage.database["users"].delete_one({"_id": subject})
    did = world.dids.pop(subject)
    for _ in range(2):
        result = call(world, "forget", subject, "--yes")
        assert result.exit_code == 1
        assert "The user is deleted or has no account" in result.stdout
        assert f"its record is in the repo of {did}\n" in result.stdout
    assert statuses(world) == ["synced"]


def test_forget_refuses_guests_and_a_subject_without_data(world: World) -> None:
    """A subject without data may be misspelt, so it is an error."""
    result = call(world, "forget", "art-guest", "--yes")
    assert result.exit_code == 2
    assert "use media-atproto wipe" in result.stderr
    result = call(world, "forget", "auth0|\x1b[2Jnobody", "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "unknown user 'auth0|\\x1b[2Jnobody'" in result.stderr


def test_forget_of_a_deleted_user_can_be_repeated(world: World) -> None:
    """By the subject, as long as there are documents; without them it is unknown."""
    subject = new_user(world)
    sync_batch(world, "mood", save_moods(world, 1, subject), subject=subject)
    assert call(world, "forget", subject, "--yes").exit_code == 0
    for collection in ("users", "@handles"):
        world.services.storage.database[collection].delete_one({"_id": subject})
    world.dids.pop(subject)
    again = call(world, "forget", subject, "--yes")
    assert (again.exit_code, again.stderr) == (0, "")
    assert again.stdout.endswith("There is nothing to remove.\n")
    start_over(world)
    assert call(world, "forget", subject, "--yes").exit_code == 2


def test_wipe_and_forget_print_one_json_object(world: World) -> None:
    """Preview and result; the result is null when nothing was changed."""
    published_moods(world, 2)
    ada = account(world, world.ada)
    rehearsal = json.loads(call(world, "wipe", ada.handle, "--dry-run", "--json").stdout)
    kinds = {name: {"records": 0, "states": 0} for name in MEDIA_TYPES}
    assert rehearsal == {
        "subject": world.ada,
        "did": ada.did,
        "handle": ada.handle,
        "dry_run": True,
        "remark": None,
        "preview": {"types": {**kinds, "mood": {"records": 2, "states": 2}}},
        "result": None,
        "error": None,
    }
    wiped = json.loads(call(world, "wipe", ada.handle, "--yes", "--json").stdout)
    assert wiped["result"]["types"]["mood"] == {"removed": 2, "cleared": 2, "remaining": {}}
    moods = published_moods(world, 1)
    world.services.storage.store.claim(MOOD, moods, holder="worker", lease=1000)
    forgotten = call(world, "forget", ada.handle, "--yes", "--json")
    told = json.loads(forgotten.stdout)
    assert forgotten.exit_code == 1
    assert (told["preview"]["thumbnails"], told["preview"]["pending_removals"]) == (0, 0)
    remaining = {"a worker is processing it": 1}
    assert told["result"]["types"]["mood"] == {"removed": 0, "cleared": 2, "remaining": remaining}
    assert told["result"]["thumbnails"] == 0
