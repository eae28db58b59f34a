"""A wipe and what workers leave behind that died, or lost their item and did not know."""

from __future__ import annotations

import pytest

from tests.contract.wiping import (
    Interrupted,
    assert_true_states,
    published_moods,
    put_strange,
    records,
    repo,
    settle,
    swept,
    told,
    wipe,
)
from tests.world import World
from worker.bulk.wiped import BACK
from worker.documents import MediaDocument
from worker.media import media_type

MOOD = media_type("mood")


@pytest.fixture
def world(new_world: World) -> World:
    """Return a world without documents, whose users have empty repos."""
    return new_world


def test_a_run_that_confesses_late_has_the_item_synced(world: World) -> None:
    """It wrote after it had lost the document, and after the wipe: a sweep sees to it."""
    (mood,) = published_moods(world, world.ada, 1)
    document = world.services.store.find(MOOD, [mood])
    assert isinstance(document, MediaDocument)
    assert document.state.rkey
    wipe(world, world.ada)
    key = put_strange(repo(world, world.ada), MOOD.nsid, document.state.rkey, text="late")
    world.services.store.note_stray(MOOD, document, key.uri)
    settle(world)
    assert_true_states(world, world.ada)
    assert world.record("mood", mood)["text"] == "calm 0"


def test_a_run_that_confesses_while_its_record_is_removed(world: World) -> None:
    """Its late write is there again: the state is not cleared, and a sweep sees to it."""
    (mood,) = published_moods(world, world.ada, 1)
    document = world.services.store.find(MOOD, [mood])
    assert isinstance(document, MediaDocument)
    assert document.state.rkey

    def confess() -> None:
        assert document.state.rkey
        key = put_strange(repo(world, world.ada), MOOD.nsid, document.state.rkey, text="late")
        world.services.store.note_stray(MOOD, document, key.uri)

    wiping = wipe(world, world.ada, eraser=Interrupted(world.services, after=confess))
    assert list(wiping.done["mood"].left.values()) == [BACK]
    settle(world)
    assert_true_states(world, world.ada)


def test_what_a_dead_worker_left_in_another_repo_is_settled_first(world: World) -> None:
    """The item keeps its record and its state until that is done."""
    (mood,) = published_moods(world, world.ada, 1)
    document = world.services.store.find(MOOD, [mood])
    assert isinstance(document, MediaDocument)
    key = put_strange(repo(world, world.bob), MOOD.nsid, ref=str(mood))
    world.services.store.note_stray(MOOD, document, key.uri)
    assert told(wipe(world, world.ada), "mood") == (0, 0, 1)
    assert_true_states(world, world.ada)
    settle(world)
    assert records(world, world.bob, MOOD.nsid) == {}
    assert told(wipe(world, world.ada), "mood") == (1, 1, 0)


def test_a_lease_that_a_dead_worker_left_delays_the_wipe_of_its_item(world: World) -> None:
    """Until it ends; then record and state go, the lease with them."""
    (mood,) = published_moods(world, world.ada, 1)
    store = world.services.store
    store.claim(MOOD, [mood], holder="dead", lease=1000)
    assert told(wipe(world, world.ada), "mood") == (0, 0, 1)
    assert len(records(world, world.ada, MOOD.nsid)) == 1
    lease = world.platform.state("mood", mood)["lease"]
    assert isinstance(lease, dict)
    ended = {**lease, "until": world.platform.document("mood", mood)["when"]}
    world.platform.edit("mood", mood, **{"atproto.lease": ended})
    assert told(wipe(world, world.ada), "mood") == (1, 1, 0)
    assert "lease" not in world.platform.state("mood", mood)
    assert swept(world) == []
