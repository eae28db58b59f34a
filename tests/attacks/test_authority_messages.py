"""A message, or a removal note in MongoDB, deletes no record whose document exists."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.bulk import new_user, put_foreign, repo
from tests.contract.older_records import write_older
from tests.contract.wiping import forgetter
from tests.world import World
from worker.core.clock import now
from worker.core.documents import Status
from worker.core.errors import PermanentError
from worker.core.records import RecordKey
from worker.database.mongo import RawDocument
from worker.database.removals import Removal
from worker.media import media_type
from worker.queue.names import FRONT, OVERFLOW
from worker.sync.outcome import Outcome

MOOD = media_type("mood")


@pytest.fixture
def world(module_world: World) -> World:
    """A world of the module's own."""
    return module_world


def delete(world: World, key: RecordKey) -> Outcome:
    """Carry out `delete_media` for a record of ada's."""
    engine = world.services.sync.engine
    return engine.delete_record("mood", world.ada, key.rkey, holder=uuid4().hex)


def test_delete_media_keeps_the_record_of_a_document_without_a_state(world: World) -> None:
    """It is found by what the record names, and synced."""
    older = write_older(world, world.ada, "mood", world.platform.save_mood("kept", world.ada))
    assert delete(world, older.key).status == Status.SYNCED
    older.assert_adopted()


def test_delete_media_keeps_the_record_of_a_document_with_another_key(world: World) -> None:
    """Its state was changed by a client."""
    mood = world.publish_mood("kept")
    state = world.platform.state("mood", mood)
    world.platform.edit("mood", mood, **{"atproto.rkey": "elsewhere"})
    key = RecordKey(str(state["repo"]), MOOD.nsid, str(state["rkey"]))
    assert delete(world, key).status == Status.SYNCED
    assert repo(world, world.ada).get(key)


def test_delete_media_keeps_a_record_that_names_no_document(world: World) -> None:
    """The outcome says so, and the removal is not tried again."""
    rkey = f"3{ObjectId()}"
    put_foreign(world, world.ada, "mood", rkey, mood="by another program")
    key = repo(world, world.ada).key(MOOD.nsid, rkey)
    outcome = delete(world, key)
    assert outcome.error
    assert (outcome.status, outcome.error.code) == (Status.FAILED, "record_not_proven")
    assert outcome.retry_at is None
    assert repo(world, world.ada).get(key)
    repo(world, world.ada).delete(key)


@pytest.mark.parametrize("rkey", ["", "a/b", "..", "é", "x" * 600])
def test_delete_media_for_an_impossible_key_reaches_no_pds(world: World, rkey: str) -> None:
    """The PDS's answer would look like that of an account that cannot be used."""
    with pytest.raises(PermanentError) as caught:
        delete(world, RecordKey(world.dids[world.ada], MOOD.nsid, rkey))
    assert caught.value.code == "invalid_id"


def test_a_note_for_a_key_keeps_the_record_of_its_document(world: World) -> None:
    """Whoever writes to `atproto_removals` names any key."""
    older = write_older(world, world.ada, "mood", world.platform.save_mood("kept", world.ada))
    save_note(world, Removal("mood", world.ada, rkey=older.key.rkey))
    for removal in due(world):
        key = RecordKey(older.did, MOOD.nsid, str(removal.rkey))
        assert delete(world, key).status == Status.SYNCED
    assert repo(world, world.ada).get(older.key)
    assert due(world) == []


def test_a_note_for_another_spelling_of_an_id_keeps_the_record(world: World) -> None:
    """`007` may mean the number 7, whose text is that of another document."""
    user = new_user(world)
    moods = world.services.storage.store.collection(MOOD)
    moods.insert_one({"_id": "7", "mood": "kept", "user": user, "when": now()})
    engine = world.services.sync.engine
    assert engine.sync("mood", "7", holder=uuid4().hex).status == Status.SYNCED
    engine.sync("mood", "007", user=user, holder=uuid4().hex)
    assert [record.ref for record in repo(world, user).records(MOOD.nsid)] == ["7"]


def save_note(world: World, removal: Removal) -> None:
    """Save a removal note that is due."""
    note: RawDocument = {
        "_id": removal.key,
        "type": removal.type,
        "user": removal.user,
        "id": removal.id,
    }
    note |= {"rkey": removal.rkey, "attempts": 0, "retryAt": datetime.now(UTC)}
    world.services.storage.removals.save(note)


def due(world: World) -> list[Removal]:
    """Return the removals that a sweep enqueues."""
    found: list[Removal] = []
    world.services.sync.sweep.run(
        {FRONT: 0, OVERFLOW: 0}, lambda _ref, _priority: None, lambda r, _priority: found.append(r)
    )
    return found


def test_a_state_that_names_an_unreadable_repo_does_not_stop_an_erasure(world: World) -> None:
    """The other states of the subject are reset; this one is reported."""
    user = new_user(world)
    planted, other = (world.platform.save_mood(text, user) for text in ("planted", "other"))
    world.platform.edit("mood", planted, atproto={"repo": "not a DID", "rkey": "3k"})
    world.sync("mood", other)
    erasure = forgetter(world.services).prepare(user)
    sum(erasure.run())
    assert erasure.trouble is None
    assert world.platform.state("mood", other)["reason"] == "forgotten"
    assert list(erasure.results["mood"].skipped) == ["3k"]
