"""Chapter 1: an item is saved, synced, and on the owner's Personal Data Server."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from PIL import Image

from tests import pictures
from tests.bulk import repo, timeless
from tests.world import World
from worker.core.cid import cid_of_blob

WHEN = datetime(2025, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)


def test_a_mood_is_published_to_its_users_account(world: World) -> None:
    """The smallest item: a line of text becomes a record that names the document."""
    mood = world.platform.save_mood("feeling quiet", world.ada, when=WHEN)
    outcome = world.sync("mood", mood)
    assert outcome.status == "synced"
    assert world.record("mood", mood) == {
        "$type": "computer.aesthetic.mood",
        "mood": "feeling quiet",
        "text": "feeling quiet",
        "when": "2025-05-06T07:08:09.123Z",
        "ref": str(mood),
    }


def test_the_document_says_where_its_record_is(world: World) -> None:
    """`atproto` holds the identity, the version and the time."""
    mood = world.publish_mood("where am I")
    state = world.platform.state("mood", mood)
    (record,) = world.records("mood", mood)
    assert (state["uri"], state["cid"]) == (record["uri"], record["cid"])
    assert state["uri"] == f"at://{state['repo']}/computer.aesthetic.mood/{state['rkey']}"
    assert state["status"] == "synced"
    assert state["attempts"] == 1
    assert not state.keys() & {"lease", "error", "retryAt", "reason"}


def test_a_painting_gets_a_thumbnail_and_the_link_to_its_recording(world: World) -> None:
    """A picture is letterboxed into 512 by 512; the recording is linked because it exists."""
    picture = pictures.pixel_art()
    world.platform.store("sunset.png", picture, world.ada)
    world.platform.store("sunset.zip", b"PK", world.ada)
    painting = world.platform.save_painting("sunset", world.ada)
    world.sync("painting", painting)
    record = world.record("painting", painting)
    thumbnail = world.blob(world.dids[world.ada], record["thumbnail"])
    with Image.open(io.BytesIO(thumbnail)) as image:
        assert (image.format, image.size) == ("PNG", (512, 512))
    assert str(record["recordingUrl"]).endswith(f"/{record['code']}.zip")


def test_a_combined_slug_names_the_image_and_the_recording(world: World) -> None:
    """`imageSlug:recordingSlug`, as the platform saves a painting with its recording."""
    world.platform.store("img1.png", pictures.pixel_art(), world.ada)
    world.platform.store("rec1.zip", b"PK", world.ada)
    painting = world.platform.save_painting("img1:rec1", world.ada)
    assert world.sync("painting", painting).status == "synced"
    assert "recordingUrl" in world.record("painting", painting)


def test_a_guests_painting_goes_to_the_guests_account(world: World) -> None:
    """Guests share one account, and their files lie in the bucket itself."""
    world.platform.store("anon.png", pictures.pixel_art(), None)
    painting = world.platform.save_painting("anon", None)
    world.sync("painting", painting)
    (record,) = world.records("painting", painting)
    assert str(record["uri"]).startswith(f"at://{world.guest_did}/")
    assert "thumbnail" in world.record("painting", painting)


def test_a_pieces_program_is_a_blob_of_its_record(world: World) -> None:
    """The source is uploaded byte for byte, under the CID of its bytes."""
    program = "export function paint({ wipe }) { wipe('blue'); } // ünï\n".encode()
    world.platform.store("bounce.mjs", program, world.ada)
    piece = world.platform.save_piece("bounce", world.ada)
    world.sync("piece", piece)
    record = world.record("piece", piece)
    assert world.blob(world.dids[world.ada], record["source"]) == program
    assert record["source"] == {
        "$type": "blob",
        "ref": {"$link": cid_of_blob(program)},
        "mimeType": "text/javascript",
        "size": len(program),
    }
    assert str(record["acUrl"]).endswith("/bounce")


def test_a_kidlisp_program_is_in_the_record_itself(world: World) -> None:
    """Code, source and permalink; guests' programs too."""
    program = world.platform.save_kidlisp("(wipe blue)\n(ink 🐄)", None)
    world.sync("kidlisp", program)
    record = world.record("kidlisp", program)
    assert record["source"] == "(wipe blue)\n(ink 🐄)"
    assert record["acUrl"] == f"https://aesthetic.computer/${record['code']}"


def test_syncing_twice_changes_nothing(world: World) -> None:
    """The second run finds all as it should be: no commit, no upload, the same state."""
    painting = world.publish_painting("twice")
    before = world.platform.state("painting", painting)
    revision = world.revision(world.dids[world.ada])
    steps: list[str] = []
    world.sync("painting", painting, observer=steps.append)
    after = world.platform.state("painting", painting)
    assert world.revision(world.dids[world.ada]) == revision
    assert not any("uploaded" in step for step in steps)
    assert timeless(after) == timeless(before)


def test_what_should_not_be_published_is_skipped_with_the_reason(world: World) -> None:
    """Guests have no moods here, and without an account there is nowhere to publish."""
    guests = world.platform.save_mood("anonymous", None)
    stranger = world.platform.save_mood("no account yet", "auth0|nobody")
    assert world.sync("mood", guests).detail == "guests_not_published"
    assert world.sync("mood", stranger).detail == "no_account"
    assert world.platform.state("mood", stranger)["status"] == "skipped"
    assert world.records("mood", guests) == []


def test_an_item_is_published_once_its_user_has_an_account(world: World) -> None:
    """`skipped` is no end: the same path publishes it later."""
    subject = f"auth0|late-{world.ada[-8:]}"
    mood = world.platform.save_mood("too early", subject)
    world.sync("mood", mood)
    world.dids[subject] = world.platform.sign_up(subject, f"late-{world.ada[-8:]}")
    assert world.sync("mood", mood).status == "synced"
    assert "reason" not in world.platform.state("mood", mood)


def test_a_legacy_document_keeps_its_rkey(world: World) -> None:
    """Older programs left an rkey and a record: the record is updated in place, never doubled."""
    mood = world.platform.save_mood("old one", world.ada)
    owner = repo(world, world.ada)
    key = owner.key("computer.aesthetic.mood", "legacyrandomkey")
    owner.put(key, {"$type": "computer.aesthetic.mood", "text": "old", "ref": str(mood)}, None)
    world.platform.edit("mood", mood, atproto={"rkey": "legacyrandomkey"})
    assert world.sync("mood", mood).status == "synced"
    (record,) = world.records("mood", mood)
    assert record["uri"] == key.uri
    assert world.record("mood", mood)["text"] == "old one"


def test_rkeys_follow_the_age_of_the_documents(world: World) -> None:
    """A repo grows at its end, which keeps a large one fast."""
    moods = [world.platform.save_mood(f"in order {n}", world.ada) for n in range(3)]
    for mood in reversed(moods):
        world.sync("mood", mood)
    rkeys = [str(world.platform.state("mood", mood)["rkey"]) for mood in moods]
    assert rkeys == sorted(rkeys)
