"""What is in the files that a deployment starts from, read as Docker and a runner read them."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SECRETS = "/run/secrets/"
_VARIABLE = re.compile(r"\$(\$|\{(\w+):?-([^}]*)\})")


@dataclass(frozen=True, slots=True)
class Service:
    """A service of docker-compose.yml."""

    name: str
    told: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        """Return what is executed."""
        return [*self.told.get("entrypoint", []), *_words(self.told["command"])]

    @property
    def health(self) -> list[str]:
        """Return what is executed to ask how it is."""
        kind, *command = self.told["healthcheck"]["test"]
        assert kind == "CMD"
        return [str(word) for word in command]

    @property
    def environment(self) -> dict[str, str]:
        """Return its environment."""
        return {name: str(value) for name, value in self.told["environment"].items()}

    def environment_at(self, places: Mapping[str, str]) -> dict[str, str]:
        """Return its environment, with a container's folders and addresses replaced."""
        values = elsewhere([*self.environment.values()], places)
        return dict(zip(self.environment, values, strict=True))

    @property
    def memory(self) -> int:
        """Return its memory limit in bytes."""
        return size(self.told["deploy"]["resources"]["limits"]["memory"])

    @property
    def grace(self) -> float:
        """Return the seconds that it has to stop."""
        return float(self.told.get("stop_grace_period", "10s").removesuffix("s"))

    @property
    def secrets(self) -> set[str]:
        """Return the names of its secrets."""
        return set(self.told.get("secrets", []))

    @property
    def is_ours(self) -> bool:
        """Tell whether it runs the image of this project."""
        return "build" in self.told


@cache
def compose() -> Mapping[str, Any]:
    """Return docker-compose.yml, every variable at its default."""
    text = (ROOT / "docker-compose.yml").read_text()
    told: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(lambda found: found[3] or "$", text))
    return told


def services() -> dict[str, Service]:
    """Return the services of docker-compose.yml."""
    return {name: Service(name, service) for name, service in compose()["services"].items()}


def trial() -> dict[str, Service]:
    """Return the services of deploy/trial.yml."""
    found = yaml.safe_load((ROOT / "deploy/trial.yml").read_text())["services"]
    return {name: Service(name, service) for name, service in found.items()}


def make_secrets(folder: Path) -> str:
    """Run deploy/make-secrets, and return what it printed."""
    command = [ROOT / "deploy/make-secrets", folder]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def procfile() -> dict[str, str]:
    """Return the command lines of the Procfile."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: command.strip() for name, _, command in (line.partition(":") for line in lines)}


def size(limit: str) -> int:
    """Return a memory limit in bytes."""
    number, unit = re.findall(r"^(\d+)([kmg])i?$", limit.lower())[0]
    return int(number) << {"k": 10, "m": 20, "g": 30}[unit]


def elsewhere(words: Sequence[str], places: Mapping[str, str]) -> list[str]:
    """Return a command line in which texts, such as a container's folders, are replaced, once."""
    longest_first = sorted(places, key=len, reverse=True)
    old = re.compile("|".join(re.escape(place) for place in longest_first))
    return [old.sub(lambda found: places[found[0]], word) for word in words]


def _words(command: str | list[str]) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
