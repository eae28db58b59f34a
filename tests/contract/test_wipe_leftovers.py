"""A wipe and what workers leave behind that died, or lost their item and did not know."""

from __future__ import annotations

from functools import partial

import pytest

from tests.bulk import repo
from tests.contract.wiping import (
    Interrupted,
    assert_true_states,
    published_moods,
    put_strange,
    records,
    settle,
    swept,
    told,
    wipe,
)
from tests.world import World
from worker.core.documents import MediaDocument
from worker.media import media_type
from worker.operations.erase.report import BACK

MOOD = media_type("mood")


@pytest.fixture
def world(new_world: World) -> World:
    """Return a world without documents, whose users have empty repos."""
    return new_world


def write_late(world: World, document: MediaDocument, subject: str, rkey: str) -> None:
    """Write a record as a run does that lost its document, and note it afterwards."""
    key = put_strange(repo(world, subject), MOOD.nsid, rkey, ref=str(document.ref.id))
    world.services.storage.store.add_stray_write(MOOD, document, key.uri)


def published_document(world: World) -> MediaDocument:
    """Publish a mood; return its document as a run has read it."""
    found = world.services.storage.store.find(MOOD, published_moods(world, world.ada, 1))
    assert isinstance(found, MediaDocument)
    return found


def test_late_write_after_a_wipe_has_the_item_synced(world: World) -> None:
    """It wrote after it had lost the document, and after the wipe: a sweep sees to it."""
    document = published_document(world)
    wipe(world, world.ada)
    write_late(world, document, world.ada, str(document.state.rkey))
    settle(world)
    assert_true_states(world, world.ada)
    assert world.record("mood", document.ref.id)["text"] == "mood 0"  # type: ignore[arg-type]


def test_late_write_while_its_record_is_removed(world: World) -> None:
    """Its late write is there again: the state is not cleared, and a sweep sees to it."""
    document = published_document(world)
    late = partial(write_late, world, document, world.ada, str(document.state.rkey))
    wiping = wipe(world, world.ada, record_deleter=Interrupted(world.services, after=late))
    assert list(wiping.done["mood"].skipped.values()) == [BACK]
    settle(world)
    assert_true_states(world, world.ada)


def test_what_a_dead_worker_left_in_another_repo_is_settled_first(world: World) -> None:
    """The item keeps its record and its state until that is done."""
    write_late(world, published_document(world), world.bob, "3kstray")
    assert told(wipe(world, world.ada), "mood") == (0, 0, 1)
    assert_true_states(world, world.ada)
    settle(world)
    assert records(world, world.bob, MOOD.nsid) == {}
    assert told(wipe(world, world.ada), "mood") == (1, 1, 0)


def test_a_lease_that_a_dead_worker_left_delays_the_wipe_of_its_item(world: World) -> None:
    """Until it ends; then record and state go, the lease with them."""
    (mood,) = published_moods(world, world.ada, 1)
    store = world.services.storage.store
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
