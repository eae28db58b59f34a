"""The commands that remove an account's records: what they ask, print, change and exit with."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from bson import ObjectId
from click.testing import CliRunner, Result

from tests.acceptance.terminal import PROGRAM, started
from tests.contract.proxy import open_proxy
from tests.environments import changed
from tests.waiting import wait_for
from tests.world import World, Worlds
from worker.cli import main
from worker.media import media_type
from worker.stack import Stack

MOOD = media_type("mood")


@pytest.fixture
def world(worlds: Worlds) -> Iterator[World]:
    """A platform whose users are new."""
    with worlds.open(RETRY_BASE_SECONDS="60") as opened:
        yield opened


def call(world: World, *arguments: str, **environ: str) -> Result:
    """Run a command in this process, its environment that of the world."""
    return CliRunner().invoke(main, arguments, env=changed(world.environ, environ))


def handle(world: World, subject: str) -> str:
    """Return the handle of a subject's account."""
    found = world.services.accounts.find(subject)
    assert found is not None
    return found.handle


def published_moods(world: World, count: int) -> list[ObjectId]:
    """Save and publish moods of ada's."""
    moods = [world.platform.save_mood(f"calm {number}", world.ada) for number in range(count)]
    for start in range(0, count, 100):
        part = moods[start : start + 100]
        world.services.batches.sync(MOOD, world.ada, part, holder=uuid4().hex)
    return moods


def statuses(world: World) -> list[object]:
    """Return what the states of all moods say."""
    return [state.get("status") for state in world.platform.states("mood").values()]


def count_of(world: World) -> int:
    """Return how many moods ada's repo holds."""
    found = world.services.accounts.find(world.ada)
    assert found is not None
    return len(list(world.services.repo(found).records(MOOD.nsid)))


def test_wipe_counts_and_changes_nothing_by_default(world: World) -> None:
    """Whose account it is, how many records and states by type, and how to go on."""
    published_moods(world, 3)
    result = call(world, "wipe", handle(world, world.ada), "--type", "mood", "--type", "piece")
    assert result.exit_code == 0
    assert result.stdout == (
        f"{world.ada}: {handle(world, world.ada)}, {world.dids[world.ada]}\n"
        "type   records  states to clear\n"
        "mood   3        3\n"
        "piece  0        0\n"
        "Nothing was changed. To do it, add --live.\n"
    )
    assert count_of(world) == 3
    assert statuses(world) == ["synced"] * 3


def test_wipe_removes_when_told_twice(world: World) -> None:
    """By `--live` and `--yes`; the second time there is nothing to remove."""
    published_moods(world, 3)
    result = call(world, "wipe", f"@{world.ada.removeprefix('auth0|')}", "--live", "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "mood      3                3\n" in result.stdout
    assert count_of(world) == 0
    assert statuses(world) == ["removed"] * 3
    again = call(world, "wipe", world.ada, "--live", "--yes")
    assert again.exit_code == 0
    assert again.stdout.endswith("There is nothing to remove.\n")


@pytest.mark.parametrize("command", ["wipe", "forget"])
def test_without_a_terminal_nobody_is_asked_and_nothing_done(world: World, command: str) -> None:
    """A script has to say `--yes`."""
    published_moods(world, 1)
    result = call(world, command, world.ada, "--live")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "give --yes with --live" in result.stderr
    assert count_of(world) == 1


@pytest.mark.parametrize("command", ["wipe", "forget"])
def test_at_a_terminal_the_name_is_to_be_typed(
    world: World, command: str, bare_environ: dict[str, str]
) -> None:
    """Another word changes nothing."""
    published_moods(world, 2)
    word = handle(world, world.ada) if command == "wipe" else world.ada
    environ = {**bare_environ, **world.environ}
    code, shown = typed([command, world.ada, "--live"], f"{word}x", environ)
    assert code == 1
    assert f"that is not {word}: nothing was changed" in shown
    assert count_of(world) == 2
    code, shown = typed([command, world.ada, "--live"], word, environ)
    assert code == 0, shown
    assert f"type {word}" in shown
    assert count_of(world) == 0


def typed(arguments: list[str], line: str, environ: dict[str, str]) -> tuple[int, str]:
    """Run the command on a terminal of its own, and type a line; returns exit code and output."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        (PROGRAM, *arguments), env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, f"{line}\n".encode())
    shown = b""
    with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
        while data := os.read(ours, 65_536):
            shown += data
    os.close(ours)
    return process.wait(60), shown.decode()


def test_wipe_tells_what_is_left_and_why(world: World) -> None:
    """With exit code 1: it is to be run again."""
    moods = published_moods(world, 3)
    world.services.store.claim(MOOD, [moods[0]], holder="worker", lease=1000)
    result = call(world, "wipe", world.ada, "--live", "--yes")
    assert result.exit_code == 1
    assert "left: 1 of type mood: a worker is at it\n" in result.stdout
    assert "Run it again" in result.stderr
    assert count_of(world) == 1


def test_wipe_of_nobody(world: World) -> None:
    """Neither a handle nor anything else: the name is quoted."""
    result = call(world, "wipe", "nobody.test")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "'nobody.test' is no user with an account" in result.stderr
    assert call(world, "wipe", world.ada, "--type", "movie").exit_code == 2
    assert call(world, "wipe").exit_code == 2


def test_wipe_without_a_pds(world: World) -> None:
    """Its error, and no traceback."""
    result = call(world, "wipe", world.ada, PDS_URL="http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "Error: no answer from the PDS" in result.stderr


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_wipe_ended_half_way_is_run_again(
    world: World, stack: Stack, end: signal.Signals, tmp_path: Path, bare_environ: dict[str, str]
) -> None:
    """Wherever it was: in the end no record is left, and no state that claims one.

    The lock that a killed process leaves is waited for: it ends by itself.
    """
    published_moods(world, 800)
    before = world.revision(world.dids[world.ada])
    arguments = ["wipe", world.ada, "--live", "--yes"]
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
    assert 0 < left < 800
    assert statuses(world).count("removed") <= 800 - left
    result = call(world, "wipe", world.ada, "--live", "--yes")
    assert result.exit_code == 0, result.output
    assert count_of(world) == 0
    assert statuses(world) == ["removed"] * 800
    audit = call(world, "audit")
    assert audit.exit_code == 0, audit.output


def test_forget_counts_by_default_and_forgets_when_told(world: World) -> None:
    """Thumbnails and waiting removals are counted as well."""
    published_moods(world, 2)
    counted = call(world, "forget", world.ada)
    assert counted.exit_code == 0
    assert "mood      2        2\n" in counted.stdout
    assert "thumbnails: 0; removals that wait: 0\n" in counted.stdout
    assert counted.stdout.endswith("Nothing was changed. To do it, add --live.\n")
    assert statuses(world) == ["synced"] * 2
    result = call(world, "forget", world.ada, "--live", "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "mood      2                2\n" in result.stdout
    reasons = {state["reason"] for state in world.platform.states("mood").values()}
    assert reasons == {"forgotten"}


def test_forget_tells_what_it_could_not_do(world: World) -> None:
    """A user without an account whose records are still in a repo: exit code 1, each time."""
    published_moods(world, 1)
    world.services.database["users"].delete_one({"_id": world.ada})
    for _ in range(2):
        result = call(world, "forget", world.ada, "--live", "--yes")
        assert result.exit_code == 1
        assert "no account of it is known" in result.stdout
        assert f"its record is in the repo of {world.dids[world.ada]}\n" in result.stdout
    assert statuses(world) == ["synced"]


def test_forget_refuses_guests_and_knows_no_trace_of_a_stranger(world: World) -> None:
    """Guests are nobody in particular; a stranger may be a misspelt subject."""
    result = call(world, "forget", "art-guest", "--live", "--yes")
    assert result.exit_code == 1
    assert "use media-atproto wipe" in result.stderr
    result = call(world, "forget", "auth0|\x1b[2Jnobody", "--live", "--yes")
    assert result.exit_code == 0
    assert "There is no trace of auth0|\\x1b[2Jnobody" in result.stdout
    assert "\x1b" not in result.stdout
