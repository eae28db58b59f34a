"""One world for the whole story."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bulk import assert_agreement
from tests.environments import SHORT_RETRIES
from tests.world import World, Worlds


@pytest.fixture(scope="session")
def world(worlds: Worlds) -> Iterator[World]:
    """Open a platform with ada, bob and guests, on real services.

    In the end, the repos hold what the documents claim, and nothing else: no test of the story
    left a second record, or one of a removed item.
    """
    with worlds.open(**SHORT_RETRIES) as opened:
        yield opened
        assert_agreement(opened)
