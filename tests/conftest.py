"""Fixtures for all tests: the services, started once for the whole run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from worker.stack import Stack
from worker.stack.environment import unsettled

pytest_plugins = ["tests.fixtures", "tests.browser.fixtures"]

# What a shell runs in the background ignores Ctrl-C, and so would all programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def bare_environ() -> dict[str, str]:
    """Return the environment without the project's own variables.

    Tests write, drop and kill: they must never reach services that a shell happens to name.
    """
    return unsettled(os.environ)


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, bare_environ: dict[str, str]
) -> Iterator[Stack]:
    """MongoDB, Valkey, a PLC directory and a PDS. Whoever stops one starts it again."""
    with Stack.start(tmp_path_factory.mktemp("stack"), bare_environ) as running:
        yield running
