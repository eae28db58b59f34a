"""One world for the whole story."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.world import World, open_world
from worker.stack import Stack


@pytest.fixture(scope="session")
def world(stack: Stack) -> Iterator[World]:
    """Open a platform with ada, bob and guests, on real services."""
    with open_world(stack, RETRY_BASE_SECONDS="0.01", RETRY_CEILING_SECONDS="0.05") as opened:
        yield opened
