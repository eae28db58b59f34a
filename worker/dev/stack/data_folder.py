"""The data folder: everything the services keep, used by one stack at a time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from worker.dev.stack.errors import StackError

# The services of a stack that was killed are gone after 3 seconds (see guard.py).
_PATIENCE = 5.0


class DataFolder:
    """A folder under a lock that every service inherits.

    The lock is a `flock`, which ends when its last holder has gone. A stack that was killed
    thus keeps its folder until its services have gone too, and two mongods never meet there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StackError(
                f"The data folder {self.path} cannot be used: {error.strerror}."
            ) from error
        try:
            _acquire(self.lock, self.path)
        except BaseException:
            os.close(self.lock)
            raise

    def subfolder(self, name: str) -> Path:
        """Return the folder `name` inside, made if it is missing."""
        path = self.path / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def release(self) -> None:
        """Let go of the lock."""
        os.close(self.lock)


def _acquire(lock: int, path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _try(lock):
        if time.monotonic() > deadline:
            raise StackError(
                f"Another stack is running on the data folder {path}.\n"
                "Stop that one, or choose another folder.",
                code="folder_in_use",
            )
        time.sleep(0.1)


def _try(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
