"""A file that is touched for as long as a process does its work: for health checks.

A worker touches it from the loop that takes messages, so one that is stuck, frozen or cannot
reach the queue stops doing so, though its process exists. `media-atproto alive FILE` tells.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from celery.beat import PersistentScheduler
from celery.bootsteps import StartStopStep

from worker.core.settings import QueueSettings
from worker.core.settings.reader import SettingsError

INTERVAL = 5.0  # seconds

log = logging.getLogger(__name__)


def create(file: Path) -> None:
    """Make a heartbeat's file, as not touched yet: a process that starts is not at work.

    Raises SettingsError when it cannot be written.
    """
    try:
        file.touch()
        os.utime(file, (0, 0))
    except OSError as error:
        problem = f"HEARTBEAT_FILE: {file} cannot be written: {error.strerror}"
        raise SettingsError([problem]) from None


def touch(file: Path) -> None:
    """Say that the process is at work; the log says so where that cannot be said."""
    try:
        file.touch()
    except OSError as error:  # a full disk must not end what goes on working
        log.warning("HEARTBEAT_FILE: %s cannot be written: %s", file, error.strerror)


class Heartbeat(StartStopStep):
    """Touches the file every few seconds from a worker's event loop, while it takes messages."""

    name = "heartbeat file"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._file = QueueSettings.load(os.environ).heartbeat_file
        self._timer: Any = None

    def include_if(self, parent: Any) -> bool:
        """Tell whether a file is asked for."""
        return self._file is not None

    def start(self, parent: Any) -> None:
        """Begin; each time that the worker has connected to the queue."""
        if self._file is None:
            return
        touch(self._file)
        self._timer = parent.timer.call_repeatedly(INTERVAL, touch, (self._file,))

    def stop(self, parent: Any) -> None:
        """End: the connection is lost, or the worker stops."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Scheduler(PersistentScheduler):
    """Beat's own scheduler, which touches the file whenever it has looked at what is due."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # In a worker with a beat inside (-B), the file is the worker's.
        worker = getattr(kwargs.get("app") or args[0], "is_worker", False)
        self._file = None if worker else QueueSettings.load(os.environ).heartbeat_file
        if self._file is not None:
            create(self._file)
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due; return how many seconds there is nothing to do."""
        delay = float(super().tick(*args, **kwargs))
        if self._file is not None:
            touch(self._file)
        return delay
