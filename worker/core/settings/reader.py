"""Read settings from environment variables, and report all problems together.

The variable `NAME_FILE` may contain the path of a file with the value of `NAME`, for the secrets
of Docker, Kubernetes and systemd. A variable that is not set has its value in the profile that
MEDIA_PROFILE names, if any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar

from worker.core.settings.profiles import DEPENDS_ON, NO_PROFILE, PROFILES

T = TypeVar("T")
Check = Callable[[str], str | None]
"""Returns None for a valid value, else an error text to follow the variable name."""

FILE_SUFFIX = "_FILE"
_ADVICE = "See .env.example, or run 'media-atproto stack --env-file .env' for services to try."


def file_variable(name: str) -> str:
    """Return the alternative to the variable `name`: with or without `_FILE`."""
    return name.removesuffix(FILE_SUFFIX) if name.endswith(FILE_SUFFIX) else name + FILE_SUFFIX


class SettingsError(ValueError):
    """The message lists all missing and invalid environment variables."""

    def __init__(self, problems: list[str], advice: str = _ADVICE) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"The environment is not complete:\n{lines}\n{advice}")
        self.problems = tuple(problems)


class EnvironmentReader:
    """Context manager to read variables; exit raises SettingsError for all problems."""

    def __init__(self, environ: Mapping[str, str], advice: str = _ADVICE) -> None:
        self._environ = environ
        self._advice = advice
        self._unreadable: set[str] = set()
        self.problems: list[str] = []
        self.profile = NO_PROFILE
        self.profile = PROFILES.get(self._value("MEDIA_PROFILE"), NO_PROFILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is None and self.problems:
            raise SettingsError(self.problems, self._advice)

    def text(self, name: str, default: str | None = None) -> str:
        """Return the value of a variable, which is required if it has no default."""
        value = self._value(name)
        if not value and default is None:
            is_in_profile = any(name in profile.settings for profile in PROFILES.values())
            self.report_missing(name, ", or set MEDIA_PROFILE" if is_in_profile else "")
        return value or default or ""

    def report_missing(self, name: str, hint: str = "") -> None:
        """Add a missing variable to `problems`, unless its file is reported already."""
        if name not in self._unreadable:
            self.problems.append(f"{name} is missing{hint}")

    def _value(self, name: str) -> str:
        """Return the value of a variable from the environment or the profile, or ""."""
        value = self._own_value(name)
        if value or self._own_value(DEPENDS_ON.get(name, "")):
            return value
        return self.profile.settings.get(name, "")

    def _own_value(self, name: str) -> str:
        """Return the value of an environment variable or the content of its file, or ""."""
        value = self._environ.get(name, "").strip()
        file = self._environ.get(name + FILE_SUFFIX, "").strip()
        if not file:
            return value
        if value:
            return self._report_file(name, f"{name} and {name}{FILE_SUFFIX} are both set: drop one")
        try:
            content = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            # The text of a UnicodeDecodeError would quote the content.
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            return self._report_file(name, f"{name}{FILE_SUFFIX}: {file} cannot be read: {why}")
        return content or self._report_file(name, f"{name}{FILE_SUFFIX}: {file} is empty")

    def _report_file(self, name: str, problem: str) -> str:
        if name not in self._unreadable:
            self.problems.append(problem)
        self._unreadable.add(name)
        return ""

    def valid_text(self, name: str, check: Check, default: str | None = None) -> str:
        """Return the value of a variable; add a problem if `check` rejects it."""
        value = self.text(name, default)
        if value and (fault := check(value)):
            self.problems.append(f"{name} {fault}")
        return value

    def parse(self, name: str, parse: Callable[[str], T], default: str) -> T | None:
        """Parse the value of a variable; add a problem if `parse` raises ValueError."""
        try:
            return parse(self.text(name, default))
        except ValueError as error:
            self.problems.append(f"{name}: {error}")
            return None

    def number(
        self, name: str, default: float, *, minimum: float, maximum: float = math.inf
    ) -> float:
        """Return a number; add a problem if it is not from `minimum` to `maximum`."""
        raw = self._value(name)
        try:
            value = float(raw) if raw else default
        except ValueError:
            value = -1.0
        if not minimum <= value <= maximum or value == math.inf:
            limit = f" and {maximum:g} at most" if maximum < math.inf else ""
            bounds = f"at least {minimum:g}{limit}"
            self.problems.append(f"{name} must be a number of {bounds}, not {raw!r}")
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean; `1`, `true` and `yes` are True."""
        raw = self._value(name).lower()
        if raw not in {"", "0", "1", "false", "true", "no", "yes"}:
            self.problems.append(f"{name} must be 1 or 0, not {raw!r}")
        return raw in {"1", "true", "yes"}

    def names(self, name: str) -> tuple[str, ...]:
        """Return the non-empty elements of a comma-separated list."""
        parts = self._value(name).split(",")
        return tuple(part.strip() for part in parts if part.strip())

    def valid_names(self, name: str, check: Check) -> tuple[str, ...]:
        """Return the elements of a list; add a problem for each one that `check` rejects."""
        names = self.names(name)
        self.problems.extend(
            f"{name}: {each!r} {fault}" for each in names if (fault := check(each))
        )
        return names

    def with_prefix(self, prefix: str) -> Mapping[str, str]:
        """Return all variables with names that start with `prefix`; ignores `_FILE`."""
        return {k: v for k, v in sorted(self._environ.items()) if k.startswith(prefix) and v}
