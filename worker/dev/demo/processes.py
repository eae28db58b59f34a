"""The worker of the demo, and what shows it at work: Flower and the status page.

They end with this process, even if it is killed.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from worker.dev.stack.data_folder import DataFolder, Ports
from worker.dev.stack.errors import StackError
from worker.dev.stack.service import log_tail, read_tail
from worker.dev.stack.supervisor import Command, Reaper

_STARTUP = 60.0
_GRACE = 20.0  # seconds in which a worker may finish what it is at
_POLL = 0.05
_CELERY = (sys.executable, "-m", "celery", "-A", "worker.app")
_OURS = (sys.executable, "-c", "from worker.cli import main; main()")


class Processes:
    """Starts, watches and stops processes of ours; their logs are in the data folder."""

    def __init__(self, folder: DataFolder, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._reaper = Reaper(folder.lock)
        self._group = 0
        self._running: dict[Path, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_worker(self, concurrency: int) -> Path:
        """Start a worker with its schedule; return its log."""
        schedule = self._folder.path / "beat-schedule"
        options = ("-B", "-s", str(schedule), "--concurrency", str(concurrency))
        self._start("worker", (*_CELERY, "worker", *options, "--loglevel", "INFO"), {})
        return self._log("worker")

    def await_worker(self) -> None:
        """Wait until the worker takes messages; raises StackError when it ends before."""
        log = self._log("worker")
        self._await(lambda: " ready." in read_tail(log, 0), log, "the worker to be ready")

    def start_flower(self) -> Flower:
        """Start Flower on a free port of the loopback, behind a password."""
        if importlib.util.find_spec("flower") is None:
            raise StackError("Flower is not here: pip install 'media-atproto[flower]'")
        port = Ports(self._folder.path / "ports.json").claim("flower")
        flower = Flower(f"http://127.0.0.1:{port}", "demo", secrets.token_urlsafe(12))
        state = self._folder.path / "flower-state"
        # Not an option: other users of this machine can read those.
        private = {"FLOWER_BASIC_AUTH": f"{flower.user}:{flower.password}"}
        command = (*_OURS, "flower", "--port", str(port), "--db", str(state))
        self._start("flower", command, private)
        return flower

    def await_flower(self, flower: Flower) -> None:
        """Wait until Flower answers; raises StackError when it ends before."""
        self._await(flower.answers, self._log("flower"), "Flower to answer")

    def start_page(self, flower: Flower) -> str:
        """Start the status page, for whom Flower is for, and wait for it; return its address."""
        port = Ports(self._folder.path / "ports.json").claim("web")
        private = {"WEB_BASIC_AUTH": f"{flower.user}:{flower.password}"}
        self._start("web", (*_OURS, "web", "--port", str(port)), private)
        log = self._log("web")
        self._await(lambda: "Serving " in read_tail(log, 0), log, "the status page")
        return f"http://127.0.0.1:{port}"

    def check(self) -> None:
        """Raise StackError, quoting its log, if a process has ended."""
        for log, process in self._running.items():
            code = process.poll()
            if code is not None:
                name = log.stem.capitalize()
                raise StackError(f"{name} ended by itself (exit code {code}).\n{log_tail(log)}")

    def stop(self) -> None:
        """Let the worker finish what it is at, and end all; a second call does nothing."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for process in self._running.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running = {}
        self._end_leftovers()
        self._reaper.release()

    def _log(self, name: str) -> Path:
        return self._folder.path / f"{name}.log"

    def _start(self, name: str, command: tuple[str, ...], private: Mapping[str, str]) -> None:
        log = self._log(name)
        log.unlink(missing_ok=True)
        environment = {**self._environment, **private}
        spawned = Command(command, environment, self._folder.path)
        process = self._running[log] = self._reaper.spawn(spawned, log)
        self._group = os.getpgid(process.pid)

    def _end_leftovers(self) -> None:
        """Kill the children of a worker that was killed, which nobody else would miss."""
        if self._group:
            with suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)  # the guard too: its work is done
            self._group = 0

    def _await(self, condition: Callable[[], bool], log: Path, what: str) -> None:
        deadline = time.monotonic() + _STARTUP
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"Waited {_STARTUP:.0f} seconds for {what}.\n{log_tail(log)}")
            time.sleep(_POLL)


@dataclass(frozen=True, slots=True)
class Flower:
    """A running Flower: its address and what it asks for."""

    url: str
    user: str
    password: str = field(repr=False)

    def answers(self) -> bool:
        """Tell whether it serves its pages."""
        try:
            return self._get("/api/tasks").is_success
        except httpx.TransportError:
            return False

    def tasks(self) -> dict[str, Any]:
        """Return all tasks that it has seen, by message id."""
        tasks: dict[str, Any] = self._get("/api/tasks").raise_for_status().json()
        return tasks

    def _get(self, path: str) -> httpx.Response:
        login = (self.user, self.password)
        return httpx.get(self.url + path, auth=login, timeout=10, trust_env=False)


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the demo's processes take over: no setting of anyone's platform."""
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
    return {n: v for n, v in environ.items() if n in names or n.startswith("PYTHON")}
