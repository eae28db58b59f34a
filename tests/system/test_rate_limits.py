"""A PDS that limits what it takes: nothing is sent that it would refuse, and everything gets there.

The reference PDS with its limits turned on, their windows and numbers made small so that they end
while a test looks on; the workers are told the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tasks import enqueue
from tests.bulk import save_one_of, save_painting
from tests.contract.proxy import Proxy, open_proxy
from tests.fleet import beat, worker
from tests.scene import Scene, open_scene
from tests.terminal import call
from tests.waiting import wait_for
from tests.world import Worlds
from worker.core.documents import SyncState
from worker.database.state import parse_state
from worker.dev.stack import Stack
from worker.media import MEDIA_TYPES

# What the PDS is told, and what the workers are: the same, in each one's own words.
_PDS = "5000/3600=60/4 1000/86400=10/5 3000/300=300/4"
_OURS = "* points_hour=60/4 uploads_day=10/5 requests_5min=300/4"
_MOODS, _PAINTINGS = 16, 4  # for each of three accounts


@dataclass(frozen=True)
class Limited:
    """A platform whose PDS has limits, and what the PDS has answered."""

    scene: Scene
    proxy: Proxy

    def states(self) -> list[SyncState]:
        """Return the states of all items."""
        database = self.scene.world.services.storage.database
        found = (database[kind.collection].find({}) for kind in MEDIA_TYPES.values())
        return [parse_state(raw.get("atproto")) for each in found for raw in each]

    def waiting(self) -> list[SyncState]:
        """Return the states of items that wait for a budget."""
        codes = {"budget_spent", "rate_limited"}
        return [state for state in self.states() if state.error and state.error.code in codes]

    def wait_until_synced(self, number: int) -> None:
        """Wait until so many items, all there are, are published."""
        wait_for(
            lambda: [state.status for state in self.states()] == ["synced"] * number,
            what=f"{number} items to be published",
        )

    def save(self) -> int:
        """Save moods and paintings of each account without enqueueing them; return how many."""
        world = self.scene.world
        for subject in (world.ada, world.bob, None):
            for width in range(_PAINTINGS):
                save_painting(world, 8 + width, subject)
            for _ in range(_MOODS):
                save_one_of(world, "mood" if subject else "kidlisp", subject)
        return 3 * (_PAINTINGS + _MOODS)


@pytest.fixture(scope="module")
def limited(
    tmp_path_factory: pytest.TempPathFactory, bare_environ: dict[str, str]
) -> Iterator[Limited]:
    """A stack of its own, with a worker and beat."""
    folder = tmp_path_factory.mktemp("limited")
    rules = {"PDS_RATE_LIMITS_ENABLED": "1", "STACK_RATE_LIMITS": _PDS}
    with ExitStack() as undo:
        stack = undo.enter_context(
            Stack.start(folder / "stack", bare_environ, pds_environment=rules)
        )
        proxy = undo.enter_context(open_proxy(stack.pds.url))
        scene = undo.enter_context(
            open_scene(Worlds(stack), folder, PDS_URL=proxy.url, RATE_LIMITS=_OURS)
        )
        logs = Path(tmp_path_factory.mktemp("limited-logs"))
        undo.enter_context(worker(scene.environ, logs))
        undo.enter_context(beat(scene.environ, logs))
        yield Limited(scene, proxy)


def test_everything_is_published_and_nothing_refused(limited: Limited) -> None:
    """A backfill beyond every limit waits for windows to end; a save meanwhile does not."""
    world = limited.scene.world
    number = limited.save()
    assert call(world, "backfill").exit_code == 0
    wait_for(limited.waiting, what="a budget to be spent")
    assert all(state.attempts == 0 for state in limited.waiting())
    mood = world.platform.save_mood("a save", world.ada)
    assert enqueue("mood", mood)
    limited.scene.wait_for_status("mood", mood, "synced")
    assert limited.waiting(), "the save was no quicker than the backfill"
    limited.wait_until_synced(number + 1)
    assert limited.proxy.answered(429) == {}
    limited.scene.wait_until_drained()


def test_budgets_full_of_wrong_numbers_recover(limited: Limited) -> None:
    """Some far too high, some forgotten while the PDS has not forgotten: all is published."""
    world = limited.scene.world
    before = len(limited.states())
    number = limited.save()
    with redis.Redis.from_url(limited.scene.environ["REDIS_URL"]) as client:
        for key in client.scan_iter("media-atproto:budget:*"):
            client.delete(key)
        host = limited.proxy.url.removeprefix("http://")
        for name, who in (("points_hour", world.dids[world.ada]), ("uploads_day", "")):
            bucket = f"media-atproto:budget:{host}|{name}|{who}"
            client.hset(bucket, "used", "1000000")
            client.hset(bucket, "ends", str(int(client.time()[0] * 1000 + 3000)))
    assert call(world, "backfill").exit_code == 0
    limited.wait_until_synced(before + number)
