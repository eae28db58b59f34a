"""A Celery worker, with beat, that uses the services of a stack."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.dev.stack.supervisor import Command

_CELERY = (sys.executable, "-m", "celery", "-A", "worker.app")
_OPTIONS = ("-B", "--concurrency", "2", "--loglevel", "INFO")


@dataclass(frozen=True, slots=True)
class WorkerProgram:
    """Runs a worker in the folder `data`; it is ready when it can receive messages."""

    data: Path
    environment: Mapping[str, str] = field(repr=False)
    name: str = "worker"

    def url(self, _port: int) -> str:
        return ""  # it has no server

    def command(self, _port: int) -> Command:
        self._heartbeat.unlink(missing_ok=True)
        environment = {**self.environment, "HEARTBEAT_FILE": str(self._heartbeat)}
        return Command((*_CELERY, "worker", *_OPTIONS), environment, self.data)

    def ready(self, _port: int, _pid: int) -> bool:
        # A worker creates the file with the date 0 when it starts.
        return self._heartbeat.exists() and self._heartbeat.stat().st_mtime > 0

    @property
    def _heartbeat(self) -> Path:
        return self.data / "heartbeat"
