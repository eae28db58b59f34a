"""Reading the environment: variable by variable, with every fault reported at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


class SettingsError(ValueError):
    """The environment is incomplete or wrong; the message lists every variable that is."""

    def __init__(self, problems: list[str]) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(
            f"The environment is not complete:\n{lines}\n"
            "See .env.example, or run 'media-atproto stack --env-file .env' for services to try."
        )
        self.problems = tuple(problems)


class Reader:
    """Reads variables one by one and remembers what was wrong, to report it all at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; without a default it is required."""
        value = self._environ.get(name, "").strip()
        if value:
            return value
        if default is None:
            self.problems.append(f"{name} is missing")
        return default or ""

    def checked(
        self, name: str, check: Callable[[str], str | None], default: str | None = None
    ) -> str:
        """Return a text for which `check` finds no fault; without a default it is required."""
        return self._sound(name, self.text(name, default), check)

    def optional(self, name: str, check: Callable[[str], str | None]) -> str:
        """Return a text for which `check` finds no fault, or an empty one."""
        return self._sound(name, self.text(name, ""), check)

    def _sound(self, name: str, value: str, check: Callable[[str], str | None]) -> str:
        fault = check(value) if value else None
        if fault:
            self.problems.append(f"{name} {fault}")
        return value

    def parsed(self, name: str, parse: Callable[[str], T], default: str) -> T | None:
        """Return what `parse` makes of a text; None where it raises ValueError, which is told."""
        try:
            return parse(self.text(name, default))
        except ValueError as error:
            self.problems.append(f"{name}: {error}")
            return None

    def number(self, name: str, default: float, *, least: float, most: float = math.inf) -> float:
        """Return a number of at least `least`, and `most` at most."""
        raw = self._environ.get(name, "").strip()
        try:
            value = float(raw) if raw else default
        except ValueError:
            value = -1.0
        if not least <= value <= most or value == math.inf:
            bounds = f"at least {least:g}" + (f" and {most:g} at most" if most < math.inf else "")
            self.problems.append(f"{name} must be a number of {bounds}, not {raw!r}")
        return value

    def flag(self, name: str) -> bool:
        """Return a flag: 1 or 0, true or false, yes or no."""
        raw = self._environ.get(name, "").strip().lower()
        if raw not in {"", "0", "1", "false", "true", "no", "yes"}:
            self.problems.append(f"{name} must be 1 or 0, not {raw!r}")
        return raw in {"1", "true", "yes"}

    def names(self, name: str) -> tuple[str, ...]:
        """Return the parts of a comma-separated list."""
        parts = self._environ.get(name, "").split(",")
        return tuple(part.strip() for part in parts if part.strip())

    def prefixed(self, prefix: str) -> Mapping[str, str]:
        """Return all variables whose names begin so."""
        return {k: v for k, v in sorted(self._environ.items()) if k.startswith(prefix) and v}

    def finish(self) -> None:
        """Raise SettingsError if anything was wrong."""
        if self.problems:
            raise SettingsError(self.problems)
