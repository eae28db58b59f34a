"""The processes of the demo: a worker, Flower and the status page.

They end with this process, even if it is killed.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from worker.dev.stack import Service
from worker.dev.stack.data_folder import DataFolder, Ports, is_free
from worker.dev.stack.supervisor import Command, Reaper

_CELERY = (sys.executable, "-m", "celery", "-A", "worker.app")
_CLI = (sys.executable, "-c", "from worker.cli import main; main()")
_USER = "demo"


@dataclass(frozen=True, slots=True)
class _Program:
    """A program that is ready once it listens on its port, or at once if that is 0."""

    name: str
    invocation: Command

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"

    def command(self, _port: int) -> Command:
        return self.invocation

    def ready(self, port: int, _pid: int) -> bool:
        return port == 0 or not is_free(port)


class Processes:
    """Starts, watches and stops processes; their logs are in the data folder."""

    def __init__(self, folder: DataFolder, environment: Mapping[str, str]) -> None:
        self._folder = folder.path
        self._environment = environment
        self._reaper = Reaper(folder.lock)
        self._services: list[Service] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_worker(self) -> None:
        """Start a worker with beat, without waiting until it is ready."""
        options = ("-B", "--concurrency", "2", "--loglevel", "INFO")
        self._start("worker", 0, (*_CELERY, "worker", *options), self._environment)

    def start_pages(self) -> list[tuple[str, str]]:
        """Start Flower and the status page; return their addresses and their login."""
        ports = Ports(self._folder / "ports.json")
        password = secrets.token_urlsafe(12)
        # In the environment, because other users of this machine can read command lines.
        names = ("FLOWER_BASIC_AUTH", "WEB_BASIC_AUTH")
        environment = {**self._environment, **dict.fromkeys(names, f"{_USER}:{password}")}
        flower, web = ports.claim("flower"), ports.claim("web")
        state = str(self._folder / "flower-state")
        command = (*_CLI, "flower", "--port", str(flower), "--db", state)
        flower_url = self._start("flower", flower, command, environment)
        page_url = self._start("web", web, (*_CLI, "web", "--port", str(web)), environment)
        return [
            ("Flower", f"{flower_url}/tasks"),
            ("status page", page_url),
            ("login", f"user {_USER}, password {password}"),
        ]

    def check(self) -> None:
        """Raise StackError, quoting its log, if a process has ended."""
        for service in self._services:
            service.check()

    def stop(self) -> None:
        """Stop all processes; the worker may finish its tasks."""
        for service in self._services:
            service.terminate()
        for service in self._services:
            service.await_end()
        self._reaper.kill_group()  # a worker that was killed leaves children
        self._reaper.release()

    def _start(
        self, name: str, port: int, arguments: tuple[str, ...], environment: Mapping[str, str]
    ) -> str:
        """Start a process and wait until it is ready; return its URL."""
        program = _Program(name, Command(arguments, environment, self._folder))
        service = Service(program, port, self._folder / f"{name}.log", self._reaper)
        self._services.append(service)
        service.await_ready()
        return service.url
