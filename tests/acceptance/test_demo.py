"""The demo: that it shows the pipeline at work, proves it, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.acceptance.terminal import Terminal, run, started
from tests.waiting import wait_for
from worker.demo.processes import Processes
from worker.stack import Stack, StackError
from worker.stack.folder import DataFolder

_URI = re.compile(r"at://did:plc:[a-z2-7]{24}/computer\.aesthetic\.\w+/[2-7a-z]{13}$")
_RUN_A_WORKER = """
import os, pathlib, signal, sys
from worker.demo.processes import Processes
from worker.stack.folder import DataFolder
processes = Processes(DataFolder(pathlib.Path(sys.argv[1])), os.environ)
processes.start_worker(2)
processes.await_worker()
print("ready", flush=True)
signal.pause()
"""


def await_line(terminal: Terminal, line: str, *, within: float = 300) -> None:
    """Wait until the demo says something, on stdout or stderr."""
    wait_for(
        lambda: line in terminal.stderr + terminal.stdout or terminal.process.poll() is not None,
        within=within,
        what=line,
    )
    assert terminal.process.poll() is None, terminal.stderr + terminal.stdout


def report_of(terminal: Terminal) -> list[list[str]]:
    """Return the cells of the report's rows."""
    lines = terminal.stdout.splitlines()
    return [re.split(r"\s{2,}", line) for line in lines if line.startswith(("ok ", "FAULT "))]


def test_demo_publishes_everything_and_proves_it(
    tmp_path: Path, bare_environ: dict[str, str]
) -> None:
    """Kept, it can be looked at with Flower and the other commands; Ctrl-C then stops it all."""
    data = tmp_path / "data"
    with started(["demo", "--keep", "--data", data], bare_environ, tmp_path) as terminal:
        await_line(terminal, "\nTry: ")
        check_report(terminal)
        check_flower(terminal.stdout)
        check_show(terminal.stdout, bare_environ)
        terminal.press_ctrl_c()
        assert terminal.exit_code() == 0
        assert not terminal.left_behind()
    assert (data / "worker.log").read_text().count("Traceback") == 0


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


def test_interrupted_demo_stops_and_cleans_up(tmp_path: Path, bare_environ: dict[str, str]) -> None:
    """While the worker starts: the exit code of an interrupt, no process and no file left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = {**bare_environ, "TMPDIR": str(temporary)}
    with started(["demo"], environ, tmp_path) as terminal:
        await_line(terminal, "accounts: ada-")
        terminal.press_ctrl_c()
        assert terminal.exit_code() == 130
        assert not terminal.left_behind()
    assert "Traceback" not in terminal.stderr
    assert not list(temporary.glob("media-atproto-demo-*"))


def test_killed_worker_is_told_with_its_log_and_leaves_no_children(
    tmp_path: Path, stack: Stack, bare_environ: dict[str, str]
) -> None:
    """Nobody else would end what a killed worker had started."""
    folder = DataFolder(tmp_path)
    processes = Processes(folder, {**bare_environ, **stack.environment})
    try:
        processes.start_worker(2)
        processes.await_worker()
        whole = of_worker(tmp_path)
        assert len(whole) > 3  # the worker, its schedule, and two that work
        min(whole, key=lambda process: process.create_time()).kill()
        with pytest.raises(StackError, match=r"Worker ended by itself \(exit code -9\)") as caught:
            wait_for(processes.check, within=30, what="the end to be noticed")
        assert "ready." in str(caught.value)
    finally:
        processes.stop()
        folder.release()
    wait_for(lambda: not of_worker(tmp_path), within=30, what="the last child to end")


def test_killed_demo_leaves_no_worker(
    tmp_path: Path, stack: Stack, bare_environ: dict[str, str]
) -> None:
    """It cannot react to SIGKILL; the worker and its children end all the same."""
    environ = {**bare_environ, **stack.environment}
    script = (sys.executable, "-c", _RUN_A_WORKER, tmp_path)
    with subprocess.Popen(script, env=environ, stdout=subprocess.PIPE) as demo:
        assert demo.stdout
        assert demo.stdout.readline() == b"ready\n"
        assert len(of_worker(tmp_path)) > 3
        demo.kill()
    wait_for(lambda: not of_worker(tmp_path), within=30, what="the last process to end")


def of_worker(folder: Path) -> list[psutil.Process]:
    """Return the processes of the worker whose data is in a folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder / "beat-schedule") in (process.info["cmdline"] or [])
    ]
