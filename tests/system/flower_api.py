"""The HTTP API of Flower."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class FlowerApi:
    """The address of a running Flower, and its login."""

    url: str
    user: str
    password: str = field(repr=False)

    def answers(self) -> bool:
        """Return whether it serves its pages."""
        try:
            return self._get("/api/tasks").is_success
        except httpx.TransportError:
            return False

    def tasks(self) -> dict[str, Any]:
        """Return all tasks that it has seen, by message id."""
        tasks: dict[str, Any] = self._get("/api/tasks").raise_for_status().json()
        return tasks

    def _get(self, path: str) -> httpx.Response:
        login = (self.user, self.password)
        return httpx.get(self.url + path, auth=login, timeout=10, trust_env=False)
