"""Check whether other users of this machine can change a file or folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_ROOT = 0
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def find_exposure(*paths: Path) -> str | None:
    """Return why other users can change one of `paths`, or None; raises OSError.

    Symbolic links are followed. Check the folder of a file too, because users who can write to it
    can replace the file.
    """
    for path in paths:
        status = path.stat()
        if status.st_uid not in {os.geteuid(), _ROOT}:
            return f"{path} belongs to another user"
        if status.st_mode & _WRITABLE:
            return f"other users can write to {path} (see chmod go-w)"
    return None
