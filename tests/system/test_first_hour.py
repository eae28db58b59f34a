"""docs/your-data.md, command by command: from a fresh clone to published documents."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/your-data.md").read_text()
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
_SAVED = re.compile(r"save\.py (\S+) (\S+) <<'END'\n(.*?)^END$", re.M | re.S)
_PATIENCE = 300.0


def commands(block: str) -> list[str]:
    """Split a block into commands, with continued lines and here-documents."""
    found: list[str] = []
    for line in block.splitlines():
        open_document = found and "<<" in found[-1] and not found[-1].endswith("\nEND")
        if found and (open_document or found[-1].endswith("\\") or line.startswith("  ")):
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


BLOCKS = [commands(block) for block in _BLOCK.findall(PAGE)]
DOCUMENTS = [(kind, json.loads(text)) for _, kind, text in _SAVED.findall(PAGE)]


@dataclass(frozen=True)
class Clone:
    """A fresh clone, and the terminals of its reader."""

    folder: Path
    environ: dict[str, str]

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run commands in a new shell, with the environment that the page reads from .env."""
        done = subprocess.run(
            ("/bin/sh", "-ec", f"if [ -e .env ]; then {BLOCKS[1][0]}; fi\n{command}"),
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        assert not check or done.returncode == 0, (command, done.stdout + done.stderr)
        return done

    def see(self, command: str) -> str:
        """Run a `show` command until it exits with 0; return what it prints at last."""
        seen: list[subprocess.CompletedProcess[str]] = []

        def exits_with_0() -> bool:
            seen.append(self.run(command, check=False))
            return seen[-1].returncode == 0

        wait_for(exits_with_0, within=60, what=command)
        return seen[-1].stdout

    def type(self, block: list[str]) -> None:
        """Run a block of the page; repeat its `show` commands until the item is published."""
        shown = [command for command in block if " show " in command]
        self.run("\n".join(command for command in block if command not in shown))
        for command in shown:
            self.see(command)

    @contextmanager
    def in_background(self, command: str) -> Iterator[str]:
        """Run `stack` in a terminal of its own until the block ends; yield what it prints."""
        log = self.folder / "terminal-1.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ("/bin/bash", "-c", command),  # which replaces itself with the command
                cwd=self.folder,
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_for(
                lambda: "Ready" in log.read_text() or process.poll() is not None,
                within=_PATIENCE,
                what="the stack to be ready",
            )
            assert process.poll() is None, log.read_text()
            yield log.read_text()
        finally:
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(60) == 0, log.read_text()

    def record(self, kind: str, item: str) -> dict[str, object]:
        """Return the record of an item from the PDS, which needs no login."""
        shown = json.loads(self.run(f".venv/bin/media-atproto show {kind} {item} --json").stdout)
        uri = shown["record"]["uri"]
        repo, collection, rkey = uri.removeprefix("at://").split("/")
        url = self.run('echo "$PDS_URL"').stdout.strip()
        params = {"repo": repo, "collection": collection, "rkey": rkey}
        answer = httpx.get(f"{url}/xrpc/com.atproto.repo.getRecord", params=params, trust_env=False)
        value: dict[str, object] = answer.raise_for_status().json()["value"]
        return value


@pytest.fixture(scope="module")
def clone(
    tmp_path_factory: pytest.TempPathFactory, bare_environ: dict[str, str]
) -> Iterator[Clone]:
    """Return a copy of the files of the repository, with nothing else."""
    folder = tmp_path_factory.mktemp("clone") / "media-atproto"
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    # A make that runs the tests would pass its options on.
    own = {name: value for name, value in bare_environ.items() if not name.startswith("MAKE")}
    own.pop("VIRTUAL_ENV", None)
    yield Clone(folder, own)
    shutil.rmtree(folder)


def item_id(document: dict[str, object]) -> str:
    """Return the `_id` of a document as it is typed."""
    raw = document["_id"]
    return str(raw["$oid"] if isinstance(raw, dict) else raw)


def test_five_commands_publish_the_first_document_and_the_rest_of_the_page_works(
    clone: Clone,
) -> None:
    """Each example is published: `show` compares it with its record and its blobs."""
    (setup, start), first, *rest, restart, again = BLOCKS
    assert len([setup, start, *first]) == 5
    clone.run(setup)
    with clone.in_background(start) as printed:
        clone.type(first)
        assert clone.record("mood", "first-mood")["mood"] == "Hello, AT Protocol!"
        for part in ("alice.test", "all-guests.test", "https://aesthetic.computer", " created"):
            assert part in printed
        for block in rest:
            clone.type(block)
        records = {
            item_id(document): clone.record(kind, item_id(document)) for kind, document in DOCUMENTS
        }
        assert_complete(records)
    with clone.in_background("\n".join(restart)) as printed:
        assert "https://media.example" in printed
        clone.type(again)
        link = clone.record("kidlisp", "65f0c0ffee65f0c0ffee0002")["acUrl"]
        assert link == "https://media.example/$cow"


def assert_complete(records: dict[str, dict[str, object]]) -> None:
    """Compare what depends on files and users with what the page says."""
    sea, reef = records["65f0c0ffee65f0c0ffee0003"], records["65f0c0ffee65f0c0ffee0004"]
    assert sea["recordingUrl"] == "https://aesthetic.computer/media/paintings/sea1.zip"
    assert sea["thumbnail"]
    assert reef["thumbnail"]
    assert "recordingUrl" not in reef
    dot, wave = records["65f0c0ffee65f0c0ffee0005"], records["65f0c0ffee65f0c0ffee0006"]
    assert dot["source"]
    assert wave["source"]
    assert wave["acUrl"] == "https://aesthetic.computer/@bob/wave"
