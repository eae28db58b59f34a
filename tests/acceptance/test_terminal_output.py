"""What commands print on terminals: whole words at each width, colours, and completion."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta

import pytest
from bson import ObjectId
from rich.cells import cell_len

from tests.bulk import account, set_password
from tests.terminal import PROGRAM, call, call_on_terminal, run_on_terminal
from tests.world import World, Worlds
from worker.core.clock import now
from worker.media import media_type


def failed_mood(world: World) -> ObjectId:
    """Save and sync a mood of ada's without a text."""
    item = world.platform.save_mood("", world.ada)
    world.sync("mood", item)
    return item


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """A platform with items in all states, a blocked account and a saved removal."""
    with worlds.open(RETRY_BASE_SECONDS="60") as opened:
        platform = opened.platform
        opened.publish_painting("shown")
        for text in ("", "", "calm"):
            opened.sync("mood", platform.save_mood(text, opened.ada))
        opened.sync("painting", platform.save_painting("never-arrived", opened.ada))
        opened.sync("mood", platform.save_mood("boo", None))
        platform.save_kidlisp("(line)", opened.ada)
        removed = opened.publish_mood("gone")
        platform.delete("mood", removed)
        arguments = ("sync", "mood", str(removed), "--user", opened.ada)
        call(opened, *arguments, PDS_URL="http://127.0.0.1:9")
        # A pending item whose age does not change during the tests.
        since = now() - timedelta(days=3, hours=1)
        error = {"step": "write", "code": "pds_5xx", "message": "502", "at": since}
        state = {"status": "pending", "failingSince": since, "error": error}
        moods = opened.services.storage.store.collection(media_type("mood"))
        moods.insert_one({"mood": "old", "when": now(), "atproto": state})
        set_password(opened, opened.bob, "not it")
        opened.sync("mood", platform.save_mood("calm", opened.bob))
        yield opened


@pytest.mark.parametrize(
    ("command", "widths"),
    [
        ("status", (60, 80, 100, 160)),
        ("accounts", (60, 80, 100, 160)),
        ("removals", (60, 80, 100, 160)),
        ("rotate-keys --dry-run", (60, 80)),
        ("lexicons check", (60, 80)),
        ("audit --quick", (60, 80)),
        ("backfill --dry-run", (60, 80)),
        ("init", (60, 80)),
    ],
)
def test_words_are_whole_at_each_width(world: World, command: str, widths: tuple[int, ...]) -> None:
    """A line is longer than the terminal only if it consists of one word."""
    arguments = command.split()
    words = set(call(world, *arguments).stdout.split())
    for columns in widths:
        shown = call_on_terminal(world, *arguments, columns=columns, NO_COLOR="1")
        lines = shown.splitlines()
        assert len(lines) > 1
        assert all(cell_len(line) <= columns or len(line.split()) == 1 for line in lines)
        table, _, _ = shown.partition("not shown: ")
        assert set(table.split()) <= words


def test_show_puts_a_uri_on_a_line_of_its_own(world: World) -> None:
    """Whatever its length, it can be copied."""
    item = world.publish_painting("copied")
    state = world.platform.state("painting", item)
    lines = call_on_terminal(world, "show", "painting", str(item), columns=60).splitlines()
    assert state["uri"] in lines
    assert all(str(value) in " ".join(lines).split() for value in (item, state["cid"]))


def test_failures_needs_three_lines_for_an_item(world: World) -> None:
    """The id, the owner, since when, and the message; all of it is in --json."""
    mood = failed_mood(world)
    owner = f"@{account(world, world.ada).screen_name}"
    for columns in (60, 80, 100, 160):
        shown = call_on_terminal(world, "failures", columns=columns, NO_COLOR="1")
        _, _, rest = shown.partition(f"  mood {mood}, {owner},")
        item = rest.split("\n  mood ")[0].split("\n\n")[0]
        assert item.count("\n") <= 2
        for text in ("failed since 20", " UTC, 1 attempt\n", "field 'mood' is missing"):
            assert text in item
        assert all(cell_len(line) <= columns for line in shown.splitlines())


def test_long_message_is_cut_on_a_terminal(world: World) -> None:
    """With dots, at a space."""
    moods = world.services.storage.store.collection(media_type("mood"))
    error = {"step": "plan", "code": "lexicon_violation", "message": "long " * 60, "at": now()}
    moods.insert_one({"_id": "a-long-id", "atproto": {"status": "failed", "error": error}})
    lines = call_on_terminal(world, "failures", columns=80, NO_COLOR="1").splitlines()
    start = next(n for n, line in enumerate(lines) if "mood a-long-id, " in line)
    assert lines[start + 2].endswith("long long ...")
    assert lines[start + 3] == ""


def test_width_is_that_of_the_terminal(world: World, bare_environ: dict[str, str]) -> None:
    """Not a default one: here of a process on a terminal."""
    environ = {**bare_environ, **world.environ}
    code, shown = run_on_terminal(["accounts"], environ, columns=90)
    assert code == 1
    assert "not shown: " in shown
    assert all(cell_len(line) <= 90 for line in shown.splitlines())


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_switched_off(world: World, variables: dict[str, str]) -> None:
    """With NO_COLOR, unless it is empty, and on a terminal that has none."""
    for arguments in (["failures"], ["status"], ["lexicons", "check"]):
        assert "\x1b[" in call_on_terminal(world, *arguments, columns=80, NO_COLOR="")
        assert "\x1b" not in call_on_terminal(world, *arguments, columns=80, **variables)


def test_progress_without_colours(world: World, bare_environ: dict[str, str]) -> None:
    """The cursor moves, but nothing is coloured."""
    environ = {**bare_environ, **world.environ, "NO_COLOR": "1"}
    code, shown = run_on_terminal(["audit", "--quick"], environ, columns=80)
    assert (code, "\x1b[2K" in shown) == (1, True)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", shown)


def test_bash_completes_types(bare_environ: dict[str, str]) -> None:
    """With the function that the command prints, which calls the command."""
    script = """
        eval "$(_MEDIA_ATPROTO_COMPLETE=bash_source media-atproto)"
        COMP_WORDS=(media-atproto failures --type pa) COMP_CWORD=3
        _media_atproto_completion media-atproto
        echo "${COMPREPLY[@]}"
    """
    environ = {**bare_environ, "PATH": f"{PROGRAM.parent}:{bare_environ['PATH']}"}
    done = subprocess.run(
        ("bash", "-c", script), env=environ, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("painting\n", "")
