"""Reading the environment: variable by variable, with every fault reported at once.

A value may be in a file instead, whose path is in the variable with `_FILE` behind its name:
that is how Docker, Kubernetes and systemd hand over secrets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

FILE_SUFFIX = "_FILE"


def file_variable(name: str) -> str:
    """Return the variable that may give a setting's value in place of `name`."""
    return name.removesuffix(FILE_SUFFIX) if name.endswith(FILE_SUFFIX) else name + FILE_SUFFIX


class SettingsError(ValueError):
    """The environment is incomplete or wrong; the message lists every variable that is."""

    def __init__(self, problems: list[str]) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(
            f"The environment is not complete:\n{lines}\n"
            "See .env.example, or run 'media-atproto stack --env-file .env' for services to try."
        )
        self.problems = tuple(problems)


class EnvironmentReader:
    """Reads variables one by one and remembers what was wrong, to report it all at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._unread: set[str] = set()
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; without a default it is required."""
        value = self._value(name)
        if value:
            return value
        if default is None:
            self.missing(name)
        return default or ""

    def missing(self, name: str, hint: str = "") -> None:
        """Report a variable that is required, unless it is known already why it is not there."""
        if name not in self._unread:
            self.problems.append(f"{name} is missing{hint}")

    def _value(self, name: str) -> str:
        """Return a variable's value, or what is in the file that is named instead; "" for none."""
        value = self._environ.get(name, "").strip()
        file = self._environ.get(name + FILE_SUFFIX, "").strip()
        if not file:
            return value
        if value:
            return self._unreadable(name, f"{name} and {name}{FILE_SUFFIX} are both set: drop one")
        try:
            content = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            # A decoder's own words would quote the content.
            why = getattr(error, "strerror", None) or "it is no UTF-8 text"
            return self._unreadable(name, f"{name}{FILE_SUFFIX}: {file} cannot be read: {why}")
        return content or self._unreadable(name, f"{name}{FILE_SUFFIX}: {file} is empty")

    def _unreadable(self, name: str, problem: str) -> str:
        self._unread.add(name)
        self.problems.append(problem)
        return ""

    def valid_text(
        self, name: str, check: Callable[[str], str | None], default: str | None = None
    ) -> str:
        """Return a text for which `check` finds no fault; without a default it is required."""
        return self._validate(name, self.text(name, default), check)

    def optional(self, name: str, check: Callable[[str], str | None]) -> str:
        """Return a text for which `check` finds no fault, or an empty one."""
        return self._validate(name, self.text(name, ""), check)

    def _validate(self, name: str, value: str, check: Callable[[str], str | None]) -> str:
        fault = check(value) if value else None
        if fault:
            self.problems.append(f"{name} {fault}")
        return value

    def parse(self, name: str, parse: Callable[[str], T], default: str) -> T | None:
        """Return what `parse` makes of a text; None where it raises ValueError, which is told."""
        try:
            return parse(self.text(name, default))
        except ValueError as error:
            self.problems.append(f"{name}: {error}")
            return None

    def number(
        self, name: str, default: float, *, minimum: float, maximum: float = math.inf
    ) -> float:
        """Return a number of at least `least`, and `most` at most."""
        raw = self._value(name)
        try:
            value = float(raw) if raw else default
        except ValueError:
            value = -1.0
        if not minimum <= value <= maximum or value == math.inf:
            bounds = f"at least {minimum:g}" + (
                f" and {maximum:g} at most" if maximum < math.inf else ""
            )
            self.problems.append(f"{name} must be a number of {bounds}, not {raw!r}")
        return value

    def flag(self, name: str) -> bool:
        """Return a flag: 1 or 0, true or false, yes or no."""
        raw = self._value(name).lower()
        if raw not in {"", "0", "1", "false", "true", "no", "yes"}:
            self.problems.append(f"{name} must be 1 or 0, not {raw!r}")
        return raw in {"1", "true", "yes"}

    def names(self, name: str) -> tuple[str, ...]:
        """Return the parts of a comma-separated list."""
        parts = self._value(name).split(",")
        return tuple(part.strip() for part in parts if part.strip())

    def with_prefix(self, prefix: str) -> Mapping[str, str]:
        """Return all variables whose names begin so; these are never in files."""
        return {k: v for k, v in sorted(self._environ.items()) if k.startswith(prefix) and v}

    def finish(self) -> None:
        """Raise SettingsError if anything was wrong."""
        if self.problems:
            raise SettingsError(self.problems)
