"""The heartbeat file, which shows health checks that a process is working.

A worker touches the file from the event loop that receives messages. The file gets old if the
worker hangs or cannot connect to the queue. `media-atproto alive FILE` checks its age.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from celery import beat
from celery.bootsteps import StartStopStep

from worker.core.settings import QueueSettings
from worker.core.settings.reader import SettingsError

INTERVAL = 5.0  # seconds

log = logging.getLogger(__name__)


def create(file: Path) -> None:
    """Create the file with an old date (1970); raises SettingsError if this fails."""
    try:
        _touch(file, (0, 0))
    except OSError as error:
        problem = f"HEARTBEAT_FILE: {file} cannot be written: {error.strerror}"
        raise SettingsError([problem]) from None


def touch(file: Path) -> None:
    """Touch the heartbeat file; log a warning if it cannot be written."""
    try:
        _touch(file)
    except OSError as error:  # a full disk must not stop the process
        log.warning("HEARTBEAT_FILE: %s cannot be written: %s", file, error.strerror)


def _touch(file: Path, times: tuple[float, float] | None = None) -> None:
    """Create the file if needed, and set its times; raises OSError.

    In a folder like /tmp, another user may have created the path. So symbolic links are not
    followed, and named pipes do not block.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        os.utime(descriptor, times)
    finally:
        os.close(descriptor)


class Heartbeat(StartStopStep):
    """Worker step that touches the file while the worker can receive messages."""

    name = "heartbeat file"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._file = QueueSettings.load(os.environ).heartbeat_file
        self._timer: Any = None

    def include_if(self, parent: Any) -> bool:
        return self._file is not None

    def start(self, parent: Any) -> None:
        """Start the timer; Celery calls this after each connection to the queue."""
        if self._file is None:
            return
        touch(self._file)
        self._timer = parent.timer.call_repeatedly(INTERVAL, touch, (self._file,))

    def stop(self, parent: Any) -> None:
        """Stop the timer when the connection is lost or the worker stops."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Scheduler(beat.Scheduler):
    """Celery beat scheduler that touches the file after each check of the schedule.

    Unlike Celery's default it keeps the schedule in memory. The default is a pickle file, which
    runs the code of another user who can create or change it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # In a worker with an embedded beat (-B), the worker touches the file.
        worker = getattr(kwargs.get("app") or args[0], "is_worker", False)
        self._file = None if worker else QueueSettings.load(os.environ).heartbeat_file
        if self._file is not None:
            create(self._file)
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        delay = float(super().tick(*args, **kwargs))
        if self._file is not None:
            touch(self._file)
        return delay
