"""The file in which Flower saves its state: a pickle, which runs the code of who writes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from worker.core.exposure import find_exposure


class FlowerStateError(Exception):
    """The state file cannot be used; the message explains why."""


def default_state_file(environ: Mapping[str, str]) -> Path:
    """Return the default path, and create its folder, which only this user can read.

    See https://specifications.freedesktop.org/basedir-spec/latest/.
    Raises FlowerStateError.
    """
    configured = Path(environ.get("XDG_STATE_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".local" / "state"
    folder = base / "media-atproto"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FlowerStateError(f"{folder} cannot be created: {error.strerror}") from error
    return folder / "flower-state"


def check_state_file(file: Path) -> None:
    """Raise FlowerStateError unless only this user, or root, can write the state file."""
    folder = file.absolute().parent
    try:
        # The database library may append a suffix to the name.
        existing = [path for path in folder.iterdir() if path.name.startswith(file.name)]
        exposure = find_exposure(folder, *existing)
    except OSError as error:
        raise FlowerStateError(f"--db: {error.filename}: {error.strerror}") from error
    if exposure:
        message = f"--db: {exposure}: Flower's state is a pickle file, which can run code"
        raise FlowerStateError(message)
    if not os.access(folder, os.W_OK):
        raise FlowerStateError(f"--db: {folder} is not writable")
