"""The demo stops all that it has started, however it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.terminal import started
from tests.waiting import wait_for
from worker.dev.demo.processes import Processes
from worker.dev.stack import Stack, StackError
from worker.dev.stack.data_folder import DataFolder

_RUN_A_WORKER = """
import os, pathlib, signal, sys
from worker.dev.demo.processes import Processes
from worker.dev.stack.data_folder import DataFolder
processes = Processes(DataFolder(pathlib.Path(sys.argv[1])), os.environ)
processes.start_worker()
print("started", flush=True)
signal.pause()
"""


def test_interrupted_demo_stops_and_cleans_up(tmp_path: Path, bare_environ: dict[str, str]) -> None:
    """While the worker starts: the exit code of an interrupt, no process and no file left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = {**bare_environ, "TMPDIR": str(temporary)}
    with started(["demo"], environ, tmp_path) as terminal:
        terminal.await_said("Created the accounts ada-")
        terminal.press_ctrl_c()
        assert terminal.exit_code() == 130
        assert not terminal.left_behind()
    assert "Traceback" not in terminal.stderr
    assert not list(temporary.glob("media-atproto-demo-*"))


def test_killed_worker_is_reported_with_its_log_and_leaves_no_children(
    tmp_path: Path, stack: Stack, bare_environ: dict[str, str]
) -> None:
    """A killed worker cannot stop its children itself."""
    folder = DataFolder(tmp_path)
    processes = Processes(folder, {**bare_environ, **stack.environment})
    try:
        processes.start_worker()
        await_pool(tmp_path)
        min(of_worker(tmp_path), key=lambda process: process.create_time()).kill()
        with pytest.raises(
            StackError, match=r"worker stopped unexpectedly \(killed by SIGKILL\)"
        ) as caught:
            wait_for(processes.check, what="the end to be noticed")
        assert "ready." in str(caught.value)
    finally:
        processes.stop()
        folder.release()
    wait_for(lambda: not of_worker(tmp_path), what="the last child to end")


def test_killed_demo_leaves_no_worker(
    tmp_path: Path, stack: Stack, bare_environ: dict[str, str]
) -> None:
    """It cannot react to SIGKILL; the worker and its children end all the same."""
    environ = {**bare_environ, **stack.environment}
    script = (sys.executable, "-c", _RUN_A_WORKER, tmp_path)
    with subprocess.Popen(script, env=environ, stdout=subprocess.PIPE) as demo:
        assert demo.stdout
        assert demo.stdout.readline() == b"started\n"
        await_pool(tmp_path)
        demo.kill()
    wait_for(lambda: not of_worker(tmp_path), what="the last process to end")


def await_pool(folder: Path) -> None:
    """Wait until the worker, beat and two pool processes run, and the worker takes messages."""
    log = folder / "worker.log"
    wait_for(lambda: " ready." in log.read_text(), within=60, what="the worker to be ready")
    assert len(of_worker(folder)) > 3


def of_worker(folder: Path) -> list[psutil.Process]:
    """Return the processes of the worker whose data is in a folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if process.info["cwd"] == str(folder) and "-B" in (process.info["cmdline"] or [])
    ]
