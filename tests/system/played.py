"""What a demo that was played has to show, on its terminal and to other commands."""

from __future__ import annotations

import re

import httpx

from tests.terminal import Terminal, run

_URI = re.compile(r"at://did:plc:[a-z2-7]{24}/computer\.aesthetic\.\w+/[2-7a-z]{13}$")


def report_of(terminal: Terminal) -> list[list[str]]:
    """Return the cells of the report's rows."""
    lines = terminal.stdout.splitlines()
    return [re.split(r"\s{2,}", line) for line in lines if line.startswith(("ok ", "FAULT "))]


def check_report(terminal: Terminal) -> None:
    """Every item is in the table, with its state and its record or the reason for none."""
    rows = report_of(terminal)
    assert len(rows) >= 60
    assert all(row[0] == "ok" for row in rows)
    assert {row[2] for row in rows} == {"painting", "mood", "piece", "kidlisp"}
    assert {row[3] for row in rows} >= {"ada", "bob", "a guest"}
    scenes = {row[1]: row[4:] for row in rows}
    assert scenes["guest's mood"] == ["skipped", "guests_not_published"]
    assert scenes["no account"] == ["skipped", "no_account"]
    assert scenes["nuked"] == ["removed", "nuked"]
    assert scenes["image missing"][:2] == ["partial", "source_missing"]
    for scene in ("upload", "message lost", "edited", "PDS was down", "image missing"):
        assert _URI.fullmatch(scenes[scene][-1])
    assert "all is as it should be." in terminal.stdout
    assert "items wait, all of them saved" in terminal.stderr
    assert "all went up by themselves" in terminal.stderr


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
    hint = re.search(r"Try: media-atproto (.+)", output)
    assert hint
    code, shown, error = run(hint[1].split(), environ)
    assert (code, error) == (0, "")
    assert "at://" in shown
