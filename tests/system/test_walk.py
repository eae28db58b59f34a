"""The tutorial of docs/operations.md, command by command: break the PDS and see it recover.

What the reader types is read from the page; what they are told to see is looked for in a browser.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.terminal import Terminal, run, started
from tests.waiting import wait_for

_DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
_SECTION = re.compile(r"^## Tutorial: .*?(?=^## |\Z)", re.M | re.S)
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
_PATIENCE = 120.0
_URI = re.compile(r"at://did:plc:[a-z2-7]{24}/computer\.aesthetic\.\w+/[2-7a-z]{13}$")
_END = "-- end of block --"


@dataclass(frozen=True)
class Shell:
    """The second terminal: one shell that keeps what it was told."""

    process: subprocess.Popen[str]

    def type(self, block: str) -> str:
        """Type a block of commands; return what is printed until all are done."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{block}\necho; echo '{_END}' $?\n")
        self.process.stdin.flush()
        printed: list[str] = []
        for line in self.process.stdout:
            if line.startswith(_END):
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"the shell has ended: {''.join(printed)}")


@dataclass(frozen=True)
class Places:
    """What the demo says at its end: where to look, and as whom."""

    flower: str
    page: str
    login: tuple[str, str]


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    """Return what the reader types, block by block."""
    (section,) = _SECTION.findall(_DOCS.read_text())
    return _BLOCK.findall(section)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like a clone in which `make setup` was run."""
    clone = tmp_path_factory.mktemp("clone")
    (clone / ".venv").symlink_to(sys.prefix)
    return clone


@pytest.fixture(scope="module")
def first(blocks: list[str], folder: Path, bare_environ: dict[str, str]) -> Iterator[Terminal]:
    """The first terminal, in which the demo is kept."""
    setup, demo = blocks[0].splitlines()
    assert setup == "make setup"
    program, *arguments = shlex.split(demo)
    assert program == ".venv/bin/media-atproto"
    kept = [str(folder / part) if part == "walk" else part for part in arguments]
    with started([*kept, "--items"], bare_environ, folder) as terminal:
        terminal.await_said("\nShow an item")
        yield terminal
        terminal.press_ctrl_c()
        assert terminal.exit_code() == 0
        assert not terminal.left_behind()
    remaining = r"Data and logs remain: \d+ MB\. Remove them with:\n  rm -r (\S+)\n$"
    assert re.findall(remaining, terminal.stderr) == [str(folder / "walk")]
    assert (folder / "walk" / "worker.log").read_text().count("Traceback") == 0


@pytest.fixture(scope="module")
def places(first: Terminal) -> Places:
    """Return the addresses that the first terminal shows."""
    said = first.stdout
    names = ("Flower", "status page")
    flower, page = (re.findall(rf"{name}\s+(http://\S+)", said)[0] for name in names)
    return Places(flower, page, re.findall(r"user (\S+), password (\S+)", said)[0])


@pytest.fixture(scope="module")
def second(first: Terminal, folder: Path, bare_environ: dict[str, str]) -> Iterator[Shell]:
    """Open the second terminal, in the same folder."""
    with subprocess.Popen(
        ("bash", "--norc"),
        cwd=folder,
        env=bare_environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as shell:
        yield Shell(shell)


@pytest.fixture
def window(browser: Browser, places: Places) -> Iterator[Page]:
    """Open a browser's window, logged in as the demo says."""
    user, password = places.login
    context = browser.new_context(http_credentials={"username": user, "password": password})
    yield context.new_page()
    context.close()


def test_the_demo_publishes_everything_and_proves_it(
    first: Terminal, bare_environ: dict[str, str]
) -> None:
    """Kept, it can be looked at with Flower and the other commands."""
    check_report(first)
    check_flower(first.stdout)
    check_show(first.stdout, bare_environ)


def check_report(terminal: Terminal) -> None:
    """A line for each story and the verdict; with `--items`, a row for each item before them."""
    table, stories = terminal.stdout.split("\n\n")[:2]
    rows = [re.split(r"\s{2,}", line) for line in table.splitlines()[1:]]
    assert len(rows) >= 60
    assert {row[0] for row in rows} == {"ok"}
    assert {row[2] for row in rows} == {"painting", "mood", "piece", "kidlisp"}
    assert {row[3] for row in rows} >= {"ada", "bob", "a guest"}
    scenes = {row[1]: row[4:] for row in rows}
    assert scenes["guest's mood"] == ["skipped", "guests_not_published"]
    assert scenes["no account"] == ["skipped", "no_account"]
    assert scenes["hidden"] == ["removed", "nuked"]
    assert scenes["broken image"][:2] == ["partial", "image_unreadable"]
    for scene in ("upload", "message lost", "edited", "PDS stopped", "broken image"):
        assert _URI.fullmatch(scenes[scene][-1])
    assert stories.splitlines()[4].startswith(f"All {len(rows)} items are as expected: ")
    check_size(stories, terminal)


def check_size(stories: str, terminal: Terminal) -> None:
    """Without the rows of items, the output fits a screen of 80 columns and 24 lines."""
    titles = [re.split(r"\s{2,}", line)[:2] for line in stories.splitlines()[:4]]
    names = ("published", "changed", "broken image", "PDS stopped")
    assert titles == [["ok", name] for name in names]
    _, _, result = terminal.stdout.partition("\n\n")
    progress = [line for line in terminal.stderr.splitlines() if "was not enqueued" not in line]
    lines = [*progress, *result.splitlines()]
    assert len(lines) <= 21  # the note about remaining files needs three more
    # The last lines are commands with the path of the folder.
    assert max(map(len, lines[:-2])) <= 80


def check_flower(output: str) -> None:
    """Flower shows the tasks to whoever has the password, and to nobody else."""
    address = re.search(r"(http://127\.0\.0\.1:\d+)/tasks", output)
    password = re.search(r"user demo, password (\S+)", output)
    assert address
    assert password
    url = f"{address[1]}/api/tasks"
    assert httpx.get(url).status_code == httpx.codes.UNAUTHORIZED
    tasks = httpx.get(url, auth=("demo", password[1])).raise_for_status().json()
    assert sum(task["name"] == "sync_media" for task in tasks.values()) >= 60


def check_show(output: str, environ: dict[str, str]) -> None:
    """The hint that is printed works as it is."""
    _, _, hint = output.partition("Show an item")
    _, _, hint = hint.partition("media-atproto ")
    code, shown, error = run(hint.replace("\\\n", "").split(), environ)
    assert (code, error) == (0, "")
    assert "at://" in shown


def test_who_follows_the_walk_sees_what_it_says(
    blocks: list[str], second: Shell, places: Places, window: Page
) -> None:
    """Each command in its turn, and each thing that the reader is told to look at."""
    _, enter, stop, save, look, mend, check = blocks
    said = second.type(enter)
    assert pending_in(said) == "0", said
    assert "image_unreadable" in said

    second.type(stop)
    mood = second.type(save).strip()
    assert re.fullmatch(r"[0-9a-f]{24}", mood)

    see_it_wait(window, places, mood)
    said = second.type(look)
    assert pending_in(said) == "1", said
    assert "pds_unreachable" in said

    second.type(mend)
    see_it_healed(window, places, mood)
    said = second.type(check)
    assert "at://" in said
    assert re.search(r"^\d+ (failed|partial) items?\b.* in \d+ accounts", said, re.M), said


def see_it_wait(window: Page, places: Places, mood: str) -> None:
    """The status page and Flower both say that the item waits, and for what."""

    def is_told() -> bool:
        window.goto(places.page)
        return "pds_unreachable" in window.inner_text("main")

    wait_for(is_told, what="the status page to say why", every=1)
    text = page_of(window, places, mood)
    assert "pending" in text
    assert "pds_unreachable" in text

    def is_shown() -> bool:
        row = row_of(window, places, mood)
        return "SUCCESS" not in row and "no answer from the PDS" in row

    wait_for(is_shown, what="Flower to show the item waiting", every=1)


def see_it_healed(window: Page, places: Places, mood: str) -> None:
    """The same two pages say that the item is published."""
    wait_for(lambda: "synced" in page_of(window, places, mood), every=1, what="the page to say so")
    wait_for(lambda: "SUCCESS" in row_of(window, places, mood), every=1, what="Flower to say so")


def page_of(window: Page, places: Places, mood: str) -> str:
    """Return what the status page says of an item, found by its search."""
    window.goto(places.page)
    window.get_by_role("searchbox").fill(mood)
    window.get_by_role("button", name="Find").click()
    return window.inner_text("main")


def row_of(window: Page, places: Places, mood: str) -> str:
    """Return what Flower's table of tasks says of an item, found by its own search."""
    window.goto(places.flower)
    window.locator("input[type=search]").fill(mood)
    row = window.locator("#tasks-table tbody tr", has_text=mood).first
    row.wait_for(timeout=_PATIENCE * 1000)
    return row.inner_text()


def pending_in(status: str) -> str:
    """Return how many items of all types `status` says are pending."""
    header, *rows = (line.split() for line in status.splitlines() if line.strip())
    assert header[-1] == "all"
    return next(row[-1] for row in rows if row[0] == "pending")
