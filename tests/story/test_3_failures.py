"""Chapter 3: things fail, the document says how, and nothing is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from bson.datetime_ms import DatetimeMS

from tests import pictures
from tests.world import World
from worker.media import media_type
from worker.stack import Stack
from worker.store import NotNow


def error_of(world: World, type_name: str, item: object) -> dict[str, object]:
    """Return the error that a document's state tells."""
    error = world.platform.state(type_name, item)["error"]  # type: ignore[arg-type]
    assert isinstance(error, dict)
    return error


def test_a_painting_without_its_image_is_published_without_it(world: World) -> None:
    """The record is up, the blob is missing, a retry is due."""
    painting = world.platform.save_painting("never-uploaded", world.ada)
    outcome = world.sync("painting", painting)
    assert outcome.status == "partial"
    assert outcome.retry_at is not None
    assert "thumbnail" not in world.record("painting", painting)
    assert error_of(world, "painting", painting)["code"] == "source_missing"


def test_the_thumbnail_is_added_when_the_image_arrives(world: World) -> None:
    """`partial` is retried until it is whole."""
    painting = world.platform.save_painting("slow-upload", world.ada)
    world.sync("painting", painting)
    world.platform.store("slow-upload.png", pictures.pixel_art(), world.ada)
    assert world.sync("painting", painting).status == "synced"
    state = world.platform.state("painting", painting)
    assert "thumbnail" in world.record("painting", painting)
    assert not state.keys() & {"error", "retryAt"}


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("bomb", pictures.bomb((60_000, 60_000)), "image_too_large"),
        ("noise", b"this is not a picture", "image_unreadable"),
    ],
)
def test_a_hostile_image_ends_as_a_clear_error(
    world: World, name: str, data: bytes, code: str
) -> None:
    """Published without it, and not tried again: no retry can make the image good."""
    world.platform.store(f"{name}.png", data, world.ada)
    painting = world.platform.save_painting(name, world.ada)
    outcome = world.sync("painting", painting)
    assert (outcome.status, outcome.retry_at) == ("partial", None)
    assert error_of(world, "painting", painting)["code"] == code
    assert error_of(world, "painting", painting)["permanent"] is True


def test_a_slug_that_climbs_out_of_its_folder_reads_nothing(world: World) -> None:
    """The name is data: it is refused before any file is looked at."""
    painting = world.platform.save_painting("../../etc/passwd", world.ada)
    assert world.sync("painting", painting).status == "partial"
    assert error_of(world, "painting", painting)["code"] == "source_key_invalid"


def test_a_field_over_its_limit_is_named(world: World) -> None:
    """Nothing that breaks its lexicon leaves; the document says which field and what to do."""
    mood = world.platform.save_mood("x" * 5001, world.ada)
    outcome = world.sync("mood", mood)
    assert outcome.status == "failed"
    assert "text" in outcome.detail
    assert error_of(world, "mood", mood)["code"] == "lexicon_violation"
    assert world.records("mood", mood) == []


def test_a_date_at_the_end_of_time_is_named_too(world: World) -> None:
    """MongoDB holds dates that Python cannot: the document is refused, not the query."""
    mood = world.platform.save_mood("far out", world.ada)
    world.platform.edit("mood", mood, when=DatetimeMS(2**62))
    outcome = world.sync("mood", mood)
    assert outcome.status == "failed"
    assert "'when'" in outcome.detail


def test_a_corrected_document_is_published(world: World) -> None:
    """`failed` is not for ever: an edit and a message are enough."""
    mood = world.platform.save_mood("y" * 5001, world.ada)
    world.sync("mood", mood)
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
    assert error_of(own_world, "mood", mood)["code"] == "pds_unreachable"
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
    account = world.services.accounts.find(world.ada)
    assert account is not None
    repo = world.services.repo(account)
    repo.delete(repo.key("computer.aesthetic.painting", str(state["rkey"])))
    world.platform.edit("painting", painting, code="again")
    assert world.sync("painting", painting).status == "synced"
    record = world.record("painting", painting)
    assert world.blob(world.dids[world.ada], record["thumbnail"])


def test_a_record_changed_behind_our_back_is_put_right(world: World) -> None:
    """The PDS is not at the version we believed: read, decide again, write."""
    mood = world.platform.save_mood("mine", world.ada)
    world.sync("mood", mood)
    state = world.platform.state("mood", mood)
    account = world.services.accounts.find(world.ada)
    assert account is not None
    repo = world.services.repo(account)
    key = repo.key("computer.aesthetic.mood", str(state["rkey"]))
    other = {"$type": "computer.aesthetic.mood", "text": "theirs", "ref": str(mood)}
    repo.put(key, other, str(state["cid"]))
    world.platform.edit("mood", mood, mood="mine again")
    assert world.sync("mood", mood).status == "synced"
    assert world.record("mood", mood)["text"] == "mine again"


def test_a_wrong_password_parks_the_account(world: World) -> None:
    """Its items wait with the reason, use up no attempt, and resume when it is right."""
    subject = f"auth0|wrong-{world.ada[-8:]}"
    did = world.platform.sign_up(subject, f"wrong-{world.ada[-8:]}", password="right-password")
    world.dids[subject] = did
    users = world.services.database["users"]
    users.update_one({"_id": subject}, {"$set": {"atproto.password": "not-it"}})
    mood = world.platform.save_mood("locked out", subject)
    outcome = world.sync("mood", mood)
    assert outcome.status == "pending"
    assert error_of(world, "mood", mood)["code"] == "wrong_password"
    assert world.platform.state("mood", mood)["attempts"] == 0
    users.update_one({"_id": subject}, {"$set": {"atproto.password": "right-password"}})
    assert world.sync("mood", mood).status == "synced"


def test_an_item_that_kills_its_worker_is_given_up(world: World) -> None:
    """Runs that never end are counted at the next claim: a poison item stops after three."""
    mood = world.platform.save_mood("poison", world.ada)
    kind = media_type("mood")
    for life in range(world.services.settings.retry.max_lost):
        claimed = world.services.store.claim(kind, [mood], holder="dying", lease=60)
        assert claimed is not None
        assert not isinstance(claimed, NotNow)
        assert claimed.state.lost == life
    outcome = world.sync("mood", mood, holder="dying")
    assert outcome.status == "failed"
    assert error_of(world, "mood", mood)["code"] == "worker_lost"
    assert world.sync("mood", mood).status == "failed"
    assert world.sync("mood", mood, force=True).status == "synced"


def test_an_item_told_to_wait_is_left_alone_until_then(world: World) -> None:
    """After a 429 nothing is sent before the time it named, whatever is enqueued."""
    mood = world.platform.save_mood("rate limited", world.ada)
    now = datetime.now(UTC)
    later = now + timedelta(hours=1)
    waiting = {"status": "pending", "retryAt": later, "heldUntil": later}
    world.platform.edit("mood", mood, atproto=waiting)
    outcome = world.sync("mood", mood)
    assert outcome.status is None
    assert world.records("mood", mood) == []
