"""Fixtures for all tests: the services, started once for the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from worker.stack import Stack

pytest_plugins = ["tests.fixtures"]

_SERVICES = frozenset({"MONGODB_CONNECTION_STRING", "MONGODB_NAME", "REDIS_URL", "PDS_URL"})
_OURS = _SERVICES | {"MEDIA_STORE_URL", "SECRET_KEYS"}


@pytest.fixture(scope="session")
def bare_environ() -> dict[str, str]:
    """Return the environment without the project's own variables.

    Tests write, drop and kill: they must never reach services that a shell happens to name.
    """
    return {name: value for name, value in os.environ.items() if name not in _OURS}


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, bare_environ: dict[str, str]
) -> Iterator[Stack]:
    """MongoDB, Valkey, a PLC directory and a PDS. Whoever stops one starts it again."""
    with Stack.start(tmp_path_factory.mktemp("stack"), bare_environ) as running:
        yield running
