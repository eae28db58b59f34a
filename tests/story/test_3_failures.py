"""Chapter 3: things fail, the document says how, and nothing is lost."""

from __future__ import annotations

import pytest

from tests import pictures
from tests.bulk import error_of, repo
from tests.world import World
from worker.database.store import Busy
from worker.dev.stack import Stack
from worker.media import media_type


def test_painting_is_published_without_its_image_until_that_arrives(world: World) -> None:
    """`partial`: the record is up, the blob is missing, and a retry is due until it is whole."""
    painting = world.platform.save_painting("slow-upload", world.ada)
    outcome = world.sync("painting", painting)
    assert outcome.status == "partial"
    assert outcome.retry_at is not None
    assert "thumbnail" not in world.record("painting", painting)
    assert error_of(world, "painting", painting)[2] == "source_missing"
    world.platform.store("slow-upload.png", pictures.pixel_art(), world.ada)
    assert world.sync("painting", painting).status == "synced"
    assert "thumbnail" in world.record("painting", painting)
    assert not world.platform.state("painting", painting).keys() & {"error", "retryAt"}


@pytest.mark.parametrize(
    ("slug", "data", "code"),
    [
        ("bomb", pictures.bomb((60_000, 60_000)), "image_too_large"),
        ("noise", b"this is not a picture", "image_unreadable"),
        ("../../etc/passwd", None, "source_key_invalid"),
    ],
)
def test_hostile_image_ends_as_a_clear_error(
    world: World, slug: str, data: bytes | None, code: str
) -> None:
    """Published without it, and not tried again: no retry can make the image good."""
    if data:
        world.platform.store(f"{slug}.png", data, world.ada)
    painting = world.platform.save_painting(slug, world.ada)
    outcome = world.sync("painting", painting)
    assert (outcome.status, outcome.retry_at) == ("partial", None)
    assert error_of(world, "painting", painting)[2] == code
    state = world.platform.state("painting", painting)
    assert state["error"]["permanent"] is True  # type: ignore[index]


def test_a_field_over_its_limit_is_named_until_corrected(world: World) -> None:
    """No record is written while the field is too long; an edit and a message are enough."""
    mood = world.platform.save_mood("x" * 5001, world.ada)
    outcome = world.sync("mood", mood)
    assert outcome.status == "failed"
    assert "mood has 5001 bytes" in outcome.detail
    assert error_of(world, "mood", mood)[2] == "lexicon_violation"
    assert world.records("mood", mood) == []
    world.platform.edit("mood", mood, mood="shorter")
    assert world.sync("mood", mood).status == "synced"


def test_a_program_that_is_too_large_is_left_out(world: World) -> None:
    """The piece is published, its source is not, and the reason is kept for that blob."""
    world.platform.store("huge.mjs", b"x" * (1024 * 1024 + 1), world.ada)
    piece = world.platform.save_piece("huge", world.ada)
    assert world.sync("piece", piece).status == "partial"
    state = world.platform.state("piece", piece)
    assert state["blobs"]["source"]["error"]["code"] == "blob_too_large"  # type: ignore[index]


def test_with_the_pds_down_the_item_waits_and_heals(own_world: World, own_stack: Stack) -> None:
    """Pending with a time to retry, attempt counted; synced once the PDS is back."""
    mood = own_world.platform.save_mood("patience", own_world.ada)
    own_stack.pds.stop()
    try:
        outcome = own_world.sync("mood", mood)
    finally:
        own_stack.pds.start()
    assert outcome.status == "pending"
    assert outcome.retry_at is not None
    assert error_of(own_world, "mood", mood)[2] == "pds_unreachable"
    assert own_world.platform.state("mood", mood)["attempts"] == 1
    assert own_world.sync("mood", mood).status == "synced"


def test_an_upload_is_not_repeated_because_the_write_failed(
    own_world: World, own_stack: Stack
) -> None:
    """Each blob's success is kept at once, before what comes after it."""
    own_world.platform.store("kept-upload.png", pictures.pixel_art(), own_world.ada)
    painting = own_world.platform.save_painting("kept-upload", own_world.ada)

    def cut(step: str) -> None:
        if step.startswith("the record is valid"):
            own_stack.pds.stop()

    try:
        assert own_world.sync("painting", painting, observer=cut).status == "pending"
    finally:
        own_stack.pds.start()
    steps: list[str] = []
    assert own_world.sync("painting", painting, observer=steps.append).status == "synced"
    assert not any(step.endswith("uploaded") for step in steps)
    record = own_world.record("painting", painting)
    assert own_world.blob(own_world.dids[own_world.ada], record["thumbnail"])


def test_a_blob_the_pds_has_dropped_is_uploaded_again(world: World) -> None:
    """The state says uploaded, the PDS says BlobNotFound: the PDS is believed."""
    world.platform.store("dropped.png", pictures.photo("PNG", (50, 41)), world.ada)
    painting = world.platform.save_painting("dropped", world.ada)
    world.sync("painting", painting)
    state = world.platform.state("painting", painting)
    owner = repo(world, world.ada)
    owner.delete(owner.key("computer.aesthetic.painting", str(state["rkey"])))
    world.platform.edit("painting", painting, code="again")
    assert world.sync("painting", painting).status == "synced"
    record = world.record("painting", painting)
    assert world.blob(world.dids[world.ada], record["thumbnail"])


def test_a_record_changed_behind_our_back_is_put_right(world: World) -> None:
    """The PDS is not at the version we believed: read, decide again, write."""
    mood = world.publish_mood("mine")
    state = world.platform.state("mood", mood)
    owner = repo(world, world.ada)
    key = owner.key("computer.aesthetic.mood", str(state["rkey"]))
    other = {"$type": "computer.aesthetic.mood", "text": "theirs", "ref": str(mood)}
    owner.put(key, other, str(state["cid"]))
    world.platform.edit("mood", mood, mood="mine again")
    assert world.sync("mood", mood).status == "synced"
    assert world.record("mood", mood)["text"] == "mine again"


def test_a_wrong_password_parks_the_account(world: World) -> None:
    """Its items wait with the reason, use up no attempt, and resume when it is right."""
    subject = f"auth0|wrong-{world.ada[-8:]}"
    did = world.platform.sign_up(subject, f"wrong-{world.ada[-8:]}", password="right-password")
    world.dids[subject] = did
    users = world.services.storage.database["users"]
    users.update_one({"_id": subject}, {"$set": {"atproto.password": "not-it"}})
    mood = world.platform.save_mood("locked out", subject)
    outcome = world.sync("mood", mood)
    assert outcome.status == "pending"
    assert error_of(world, "mood", mood)[2] == "wrong_password"
    assert world.platform.state("mood", mood)["attempts"] == 0
    users.update_one({"_id": subject}, {"$set": {"atproto.password": "right-password"}})
    assert world.sync("mood", mood).status == "synced"


def test_an_item_that_kills_its_worker_is_given_up(world: World) -> None:
    """Runs that never end are counted at the next claim: a poison item stops after three."""
    mood = world.platform.save_mood("poison", world.ada)
    kind = media_type("mood")
    for life in range(world.services.settings.retry.max_lost):
        claimed = world.services.storage.store.claim(kind, [mood], holder="dying", lease=60)
        assert claimed is not None
        assert not isinstance(claimed, Busy)
        assert claimed.state.lost == life
    outcome = world.sync("mood", mood, holder="dying")
    assert outcome.status == "failed"
    assert error_of(world, "mood", mood)[2] == "worker_lost"
    assert world.sync("mood", mood).status == "failed"
    assert world.sync("mood", mood, force=True).status == "synced"
