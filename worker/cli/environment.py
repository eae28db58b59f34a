"""The environment of commands: the process's own, and what an env file adds to it."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.core.settings.reader import file_variable

if TYPE_CHECKING:
    from worker.services import Services

DEFAULT = Path(".env")
_NAME = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


def complete_environment(env_file: Path | None) -> None:
    """Add an env file's variables to `os.environ`; what is set there already, or in a file, stays.

    Without a file named, `.env` in the current folder is taken, if there is one. Raises
    click.BadParameter naming the file and line that cannot be read.
    """
    if env_file is None and not DEFAULT.is_file():
        return
    for name, value in read_env_file(env_file or DEFAULT).items():
        if file_variable(name) not in os.environ:
            os.environ.setdefault(name, value)


def open_services(env_file: Path | None) -> Services:
    """Return the services that the environment, completed from an env file, describes.

    Raises SettingsError and click.BadParameter.
    """
    complete_environment(env_file)
    # Imported late: no help text waits for the engine to be loaded.
    from worker.core.settings import Settings
    from worker.services import build

    return build(Settings.load(os.environ))


def read_env_file(file: Path) -> dict[str, str]:
    """Return the variables of an env file: `NAME=value` lines, quoted as in a shell.

    Nothing is expanded. Raises click.BadParameter naming the line that cannot be read, and
    never quoting it: it may hold a secret.
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
        # Not the lexer's own comments: they may start in the middle of a value, such as `/#code`.
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
