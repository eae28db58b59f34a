"""Chapter 2: whatever happens to a document, syncing it makes the PDS agree."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from tasks import removal_note
from tests import pictures
from tests.contract.items import sweep
from tests.world import World
from worker.database.mongo import RawDocument
from worker.database.removals import Removal


def test_an_edit_updates_the_record_in_place(world: World) -> None:
    """Same rkey, new version."""
    mood = world.publish_mood("first words")
    before = world.platform.state("mood", mood)
    world.platform.edit("mood", mood, mood="second thoughts")
    world.sync("mood", mood)
    after = world.platform.state("mood", mood)
    assert world.record("mood", mood)["text"] == "second thoughts"
    assert after["rkey"] == before["rkey"]
    assert after["cid"] != before["cid"]


def test_an_edit_carries_the_blob_forward(world: World) -> None:
    """An update that left the thumbnail out would delete it from the PDS."""
    painting = world.publish_painting("kept")
    before = world.record("painting", painting)
    steps: list[str] = []
    world.platform.edit("painting", painting, code="newcode")
    world.sync("painting", painting, observer=steps.append)
    after = world.record("painting", painting)
    assert after["code"] == "newcode"
    assert after["thumbnail"] == before["thumbnail"]
    assert not any("uploaded" in step for step in steps)
    assert world.blob(world.dids[world.ada], after["thumbnail"])


def test_the_blob_survives_when_an_edit_finds_the_image_gone(world: World) -> None:
    """The old thumbnail stays up, and the document says that it is old."""
    path = world.platform.store("moved.png", pictures.pixel_art(), world.ada)
    painting = world.platform.save_painting("moved", world.ada)
    world.sync("painting", painting)
    path.unlink()
    world.platform.edit("painting", painting, code="changed")
    assert world.sync("painting", painting).status == "partial"
    record = world.record("painting", painting)
    assert record["code"] == "changed"
    assert world.blob(world.dids[world.ada], record["thumbnail"])
    state = world.platform.state("painting", painting)
    assert state["blobs"]["thumbnail"]["status"] == "old"  # type: ignore[index]


def test_a_new_image_makes_a_new_thumbnail(world: World) -> None:
    """The file under the same name has other bytes now."""
    painting = world.publish_painting("redrawn")
    before = world.record("painting", painting)["thumbnail"]
    world.platform.store("redrawn.png", pictures.photo("PNG"), world.ada)
    world.sync("painting", painting)
    after = world.record("painting", painting)["thumbnail"]
    assert after != before
    assert world.blob(world.dids[world.ada], after)


def test_a_touched_file_is_read_again_but_not_uploaded(world: World) -> None:
    """The same bytes under a new time are the same blob."""
    path = world.platform.store("touched.mjs", b"// same\n", world.ada)
    piece = world.platform.save_piece("touched", world.ada)
    world.sync("piece", piece)
    path.write_bytes(b"// same\n")
    steps: list[str] = []
    world.sync("piece", piece, observer=steps.append)
    assert any("as it was" in step for step in steps)
    assert not any("uploaded" in step for step in steps)


def test_a_recording_that_arrives_later_is_linked(world: World) -> None:
    """And one that is taken away is no longer."""
    painting = world.publish_painting("later")
    assert "recordingUrl" not in world.record("painting", painting)
    recording = world.platform.store("later.zip", b"PK", world.ada)
    world.sync("painting", painting)
    assert "recordingUrl" in world.record("painting", painting)
    recording.unlink()
    world.sync("painting", painting)
    assert "recordingUrl" not in world.record("painting", painting)


def test_a_nuked_item_is_removed(world: World) -> None:
    """The record goes, the document remembers its identity, and a second run changes nothing."""
    mood = world.publish_mood("regrets")
    world.platform.edit("mood", mood, deleted=True)
    outcome = world.sync("mood", mood)
    state = world.platform.state("mood", mood)
    assert outcome.status == "removed"
    assert world.records("mood", mood) == []
    assert state["reason"] == "deleted"
    assert "rkey" in state
    assert not state.keys() & {"uri", "cid"}
    revision = world.revision(world.dids[world.ada])
    assert world.sync("mood", mood).status == "removed"
    assert world.revision(world.dids[world.ada]) == revision


def test_a_nuked_item_whose_account_is_unknown_is_not_called_removed(world: World) -> None:
    """Its record is still up: it is removed once the account is there again."""
    subject = f"auth0|away-{world.ada[-8:]}"
    world.dids[subject] = world.platform.sign_up(subject, f"away-{world.ada[-8:]}")
    mood = world.platform.save_mood("left behind", subject)
    world.sync("mood", mood)
    users = world.services.storage.database["users"]
    account = users.find_one_and_delete({"_id": subject})
    assert account is not None
    world.platform.edit("mood", mood, deleted=True)
    assert world.sync("mood", mood).detail == "no_account"
    users.insert_one(account)
    assert world.sync("mood", mood).status == "removed"
    assert world.records("mood", mood) == []


def test_an_un_nuked_painting_comes_back_with_its_thumbnail(world: World) -> None:
    """The PDS dropped the blob with its last reference: it is made and uploaded again."""
    path = world.platform.store("back.png", pictures.pixel_art(), world.ada)
    painting = world.platform.save_painting("back", world.ada)
    world.sync("painting", painting)
    before = world.record("painting", painting)
    world.platform.edit("painting", painting, nuked=True)
    world.sync("painting", painting)
    assert world.records("painting", painting) == []
    world.platform.edit("painting", painting, nuked=False)
    assert world.sync("painting", painting).status == "synced"
    after = world.record("painting", painting)
    assert after == before
    assert world.blob(world.dids[world.ada], after["thumbnail"])
    assert path.exists()


@pytest.mark.parametrize("end", ["nuked", "deleted document"])
def test_no_thumbnail_of_a_removed_record_stays_in_the_cache(world: World, end: str) -> None:
    """Neither of a hidden item nor of a deleted document; those of other items do."""
    cache = world.services.storage.database["atproto_thumbnails"]
    name = end.partition(" ")[0]
    images = (pictures.pixel_art((8, height)) for height in (16, 32))
    gone, kept = (world.publish_painting(f"{name}-{n}", each) for n, each in enumerate(images))
    cids = [world.record("painting", each)["thumbnail"]["ref"]["$link"] for each in (gone, kept)]  # type: ignore[index]
    assert {each["cid"] for each in cache.find()} >= set(cids)
    if end == "nuked":
        world.platform.edit("painting", gone, nuked=True)
    else:
        world.platform.delete("painting", gone)
    world.sync("painting", gone, user=world.ada)
    assert world.records("painting", gone) == []
    assert cache.distinct("cid", {"cid": {"$in": cids}}) == cids[1:]


def test_an_item_given_to_a_user_moves_to_their_repo(world: World) -> None:
    """A guest signs up and claims a painting: it is not published twice."""
    world.platform.store("claimed.png", pictures.pixel_art(), None)
    world.platform.store("claimed.png", pictures.pixel_art(), world.bob)
    painting = world.platform.save_painting("claimed", None)
    world.sync("painting", painting)
    world.platform.edit("painting", painting, user=world.bob, bucket="user-aesthetic-computer")
    assert world.sync("painting", painting).status == "synced"
    (record,) = world.records("painting", painting)
    assert str(record["uri"]).startswith(f"at://{world.dids[world.bob]}/")


def test_a_record_of_a_deleted_document_is_removed_by_its_users_name(world: World) -> None:
    """With the document gone, the message says whose it was."""
    mood = world.publish_mood("deleted")
    world.platform.delete("mood", mood)
    assert "no such document" in world.sync("mood", mood).detail
    assert len(world.records("mood", mood)) == 1
    assert "removed at://" in world.sync("mood", mood, user=world.ada).detail
    assert world.records("mood", mood) == []


def test_a_deleted_documents_record_is_found_under_any_rkey(world: World) -> None:
    """Records of older programs have random keys: they are found by what they refer to."""
    mood = world.platform.save_mood("legacy", world.ada)
    world.platform.edit("mood", mood, atproto={"rkey": "some-old-key"})
    world.sync("mood", mood)
    world.platform.delete("mood", mood)
    world.sync("mood", mood, user=world.ada)
    assert world.records("mood", mood) == []


def test_a_removal_that_was_noted_is_seen_through_though_its_message_was_lost(world: World) -> None:
    """The producer saves the note, and deletes the document; a sweep finds it."""
    mood = world.publish_mood("noted")
    note_removal(world, mood)
    world.platform.delete("mood", mood)
    assert removals_found(world) == [Removal("mood", world.ada, id=str(mood))]
    assert world.sync("mood", mood, user=world.ada).status == "removed"
    assert world.records("mood", mood) == []
    assert notes(world) == 0


def test_a_removal_that_was_noted_of_a_document_that_is_there_is_dropped(world: World) -> None:
    """Its producer was interrupted: nothing is removed, now or later."""
    mood = world.publish_mood("spared")
    note_removal(world, mood)
    assert world.sync("mood", mood, user=world.ada).status == "synced"
    assert world.record("mood", mood)["text"] == "spared"
    assert notes(world) == 0


def test_a_removal_waits_while_the_account_is_missing(world: World) -> None:
    """The users document is usually deleted first, and a password may be unset for a moment."""
    subject = f"auth0|gone-{world.ada[-8:]}"
    world.dids[subject] = world.platform.sign_up(subject, f"gone-{world.ada[-8:]}")
    mood = world.platform.save_mood("left behind", subject)
    world.sync("mood", mood)
    users = world.services.storage.database["users"]
    account = users.find_one_and_delete({"_id": subject})
    assert account is not None
    note_removal(world, mood, subject)
    world.platform.delete("mood", mood)
    outcome = world.sync("mood", mood, user=subject)
    assert outcome.status == "pending"
    assert outcome.error is not None
    assert outcome.error.code == "no_account"
    assert notes(world) == 1
    users.insert_one(account)
    assert world.sync("mood", mood, user=subject).status == "removed"
    assert world.records("mood", mood) == []
    assert notes(world) == 0


def test_a_failed_removal_is_withdrawn_when_its_document_comes_back(world: World) -> None:
    """No sweep enqueues it; a sweep deletes it."""
    mood = world.publish_mood("back again")
    document = stored(world, "moods", mood)
    world.platform.delete("mood", mood)
    world.sync("mood", mood, user=world.ada)
    note_removal(world, mood)
    removals = world.services.storage.database["atproto_removals"]
    removals.update_many({}, {"$set": {"retryAt": None}})
    del document["atproto"]
    world.services.storage.database["moods"].insert_one(document)
    assert world.sync("mood", mood).status == "synced"
    sweep(world.services)
    assert notes(world) == 0


def test_a_failed_removal_begins_anew_when_its_document_is_deleted_again(world: World) -> None:
    """What it knew of the record, and its attempts, were those of the first deletion."""
    mood = world.publish_mood("twice gone")
    rkey = str(world.platform.state("mood", mood)["rkey"])
    note = removal_note("mood", mood, user=world.ada, rkey="old-key")
    stale = {"retryAt": None, "attempts": 24, "cursor": rkey, "pages": 3}
    world.services.storage.database["atproto_removals"].insert_one(note | stale)
    world.platform.delete("mood", mood)
    assert world.sync("mood", mood, user=world.ada).status == "removed"
    assert world.records("mood", mood) == []


def test_a_document_inserted_again_with_its_old_state_is_published(world: World) -> None:
    """Its record was removed meanwhile, whatever the state says."""
    mood = world.publish_mood("restored")
    document = stored(world, "moods", mood)
    world.platform.delete("mood", mood)
    world.sync("mood", mood, user=world.ada)
    assert world.records("mood", mood) == []
    world.services.storage.database["moods"].insert_one(document)
    assert world.sync("mood", mood).status == "synced"
    assert world.record("mood", mood)["text"] == "restored"


def test_a_painting_inserted_again_is_published_with_its_thumbnail(world: World) -> None:
    """The PDS has dropped the blob with the record."""
    painting = world.publish_painting("restored")
    document = stored(world, "paintings", painting)
    world.platform.delete("painting", painting)
    world.sync("painting", painting, user=world.ada)
    world.services.storage.database["paintings"].insert_one(document)
    assert world.sync("painting", painting).status == "synced"
    record = world.record("painting", painting)
    assert world.blob(world.dids[world.ada], record["thumbnail"])


def test_an_invalid_note_does_not_hide_the_others(world: World) -> None:
    """A note without `rkey`, notes that name nothing, and those that no message can carry."""
    removals = world.services.storage.database["atproto_removals"]
    due = {"retryAt": datetime.now(UTC) - timedelta(minutes=1)}
    short: RawDocument = {"type": "mood", "user": world.ada, "id": "short"}
    short |= {"_id": f"mood:{world.ada}::short"}
    odd: list[RawDocument] = [{"_id": "odd"}, {"_id": 7, "type": 7}, {"_id": 8, "type": ["mood"]}]
    removals.insert_many([{**due, **each} for each in [*odd, short]])
    removals.insert_many([{"_id": 9, "type": {"mood": 1}}, {"_id": f"mood:{world.ada}:None:"}])
    other = {"type": "video", "user": world.ada, "id": "x" * 600}
    removals.insert_one({**due, **other, "_id": f"video:{world.ada}::x"})
    removals.insert_one({**due, **other, "_id": f"mood:{world.ada}::{'x' * 600}", "type": "mood"})
    note_removal(world, ObjectId("65f0c0ffee65f0c0ffee65f0"))
    found = removals_found(world)
    assert {removal.id for removal in found} == {"short", "65f0c0ffee65f0c0ffee65f0"}
    assert removals_found(world) == []
    world.services.sync.sweep.failed_removals.withdraw()
    assert notes(world) == 9
    removals.delete_many({})


def test_a_record_whose_key_is_in_the_note_is_found_by_one_call(world: World) -> None:
    """No page of the collection is read."""
    mood = world.platform.save_mood("at a known key", world.ada)
    world.platform.edit("mood", mood, atproto={"rkey": "known-key"})
    world.sync("mood", mood)
    note = removal_note("mood", mood, user=world.ada, rkey="known-key")
    world.services.storage.removals.save(note)
    world.platform.delete("mood", mood)
    engine = world.services.sync.engine
    no_search = replace(engine, remover=replace(engine.remover, pages=0))
    assert world.sync("mood", mood, engine=no_search, user=world.ada).status == "removed"
    assert world.records("mood", mood) == []


def test_the_removal_of_the_document_0_has_one_note(world: World) -> None:
    """The note of its producer is the note of the engine."""
    note = removal_note("mood", 0, user=world.ada)
    assert Removal("mood", world.ada, id=0).key == note["_id"]


def test_note_of_a_removal_for_a_user_without_an_account_is_not_kept(world: World) -> None:
    """There is no record: the sweep would find the note again and again."""
    mood = ObjectId()
    note_removal(world, mood, "auth0|nobody")
    assert "no account" in world.sync("mood", mood, user="auth0|nobody").detail
    assert notes(world) == 0


def stored(world: World, collection: str, item: ObjectId) -> dict[str, object]:
    """Return a document with its state, as a backup has it."""
    found = world.services.storage.database[collection].find_one({"_id": item})
    assert found is not None
    return found


def note_removal(world: World, mood: ObjectId, user: str | None = None) -> None:
    """Save a note as a producer does, half a minute ago."""
    note = removal_note("mood", mood, user=user or world.ada)
    note["retryAt"] = datetime.now(UTC)
    world.services.storage.database["atproto_removals"].replace_one(
        {"_id": note["_id"]}, note, upsert=True
    )


def removals_found(world: World) -> list[Removal]:
    """Return the removals that a sweep would enqueue."""
    removals = world.services.storage.removals
    found = list(removals.due())
    removals.mark(found, datetime.now(UTC) + timedelta(minutes=5))
    return found


def notes(world: World) -> int:
    """Count the removals that are kept."""
    return world.services.storage.database["atproto_removals"].count_documents({})


def test_delete_media_removes_a_record_by_its_rkey(world: World) -> None:
    """For callers that know where it was."""
    mood = world.publish_mood("by rkey")
    rkey = str(world.platform.state("mood", mood)["rkey"])
    world.platform.delete("mood", mood)
    world.services.sync.engine.delete_record("mood", world.ada, rkey, holder="story")
    assert world.records("mood", mood) == []


def test_delete_media_spares_a_record_whose_document_is_there(world: World) -> None:
    """A late or mistaken message does no harm: the document is the truth."""
    mood = world.publish_mood("alive")
    rkey = str(world.platform.state("mood", mood)["rkey"])
    outcome = world.services.sync.engine.delete_record("mood", world.ada, rkey, holder="story")
    assert outcome.status == "synced"
    assert len(world.records("mood", mood)) == 1
