"""Extend the environment of a command with the variables of an env file."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.core.exposure import find_exposure
from worker.core.settings.reader import file_variable

if TYPE_CHECKING:
    from worker.services import Services
    from worker.services.timeouts import Timeouts

DEFAULT = Path(".env")
_NAME = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


def complete_environment(env_file: Path | None) -> None:
    """Add the variables of an env file to `os.environ`, unless they are set there.

    A variable is also set if its `_FILE` variant is. The default is `.env` in the current
    folder, if it exists. Raises click.BadParameter with the file and line of an error, or if
    another user may have written the default.
    """
    if env_file is None:
        if not DEFAULT.is_file():
            return
        _check_default()
    for name, value in read_env_file(env_file or DEFAULT).items():
        if file_variable(name) not in os.environ:
            os.environ.setdefault(name, value)


def _check_default() -> None:
    """Raise click.BadParameter if other users can write `.env`, which names our services."""
    if exposure := find_exposure(DEFAULT.absolute().parent, DEFAULT.absolute()):
        message = (
            f"{exposure}, so {DEFAULT} is not read by default. "
            f"To use it all the same: --env-file {DEFAULT}"
        )
        raise click.BadParameter(message, param_hint="--env-file")


def open_services(env_file: Path | None, timeouts: Timeouts | None = None) -> Services:
    """Return services for the environment, extended with an env file.

    Without `timeouts`, they report a service that does not respond within three seconds, and then
    wait for each call as long as a worker. Raises SettingsError and click.BadParameter.
    """
    complete_environment(env_file)
    # Imported here, so that help texts do not load the engine.
    from worker.core.settings import Settings
    from worker.services import build
    from worker.services.timeouts import COMMAND

    return build(Settings.load(os.environ), timeouts=timeouts or COMMAND)


def read_env_file(file: Path) -> dict[str, str]:
    """Return the variables of an env file: `NAME=value` lines, quoted as in a shell.

    Nothing is expanded. Raises click.BadParameter with the number of an invalid line, but not
    its text, which may contain a secret.
    """
    variables: dict[str, str] = {}
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise click.BadParameter(f"{file}: {reason}", param_hint="--env-file") from error
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, value = _assignment(line.strip(), f"{file}, line {number}")
            variables[name] = value
    return variables


def _assignment(line: str, where: str) -> tuple[str, str]:
    match = _NAME.fullmatch(line)
    if match is None:
        raise click.BadParameter(f"{where}: not of the form NAME=value", param_hint="--env-file")
    try:
        # Without comments of shlex: they may start inside a value, such as `/#code`.
        words = shlex.split(match[2])
    except ValueError as error:
        raise click.BadParameter(f"{where}: {error}", param_hint="--env-file") from None
    # In a shell, `NAME= value` runs a command named value.
    value = [] if match[2][:1].isspace() else words[:1]
    rest = words[len(value) :]
    if rest and not rest[0].startswith("#"):
        message = f"{where}: a value with spaces has to be in quotes"
        raise click.BadParameter(message, param_hint="--env-file")
    return match[1], value[0] if value else ""
