"""A PDS that misbehaves in the middle of a sync: the state says it, and nothing is doubled."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from tests.contract.pds_faults import FAULTS, PAGES, SLOW_DOWN
from tests.contract.proxy import Proxy, Reply
from tests.pictures import pixel_art
from tests.world import World
from worker.core.documents import Status
from worker.database.thumbnail_cache import COLLECTION

HOUR = timedelta(hours=1)


@pytest.fixture
def world(proxied: tuple[World, Proxy]) -> World:
    """That world."""
    return proxied[0]


def new_mood(world: World) -> ObjectId:
    """Save a mood of a user who has a session already."""
    world.sync("mood", world.platform.save_mood("before", world.ada))
    return world.platform.save_mood("during", world.ada)


def test_a_429_is_waited_out_without_another_request(world: World, proxy: Proxy) -> None:
    """Pending until the time it named, no attempt used up, and nothing sent before."""
    mood = new_mood(world)
    proxy.answer(SLOW_DOWN, "putRecord")
    outcome = world.sync("mood", mood)
    state = world.platform.state("mood", mood)
    assert outcome.status is Status.PENDING
    assert state["attempts"] == 0
    held = state["heldUntil"]
    assert isinstance(held, datetime)
    assert abs(held - datetime.now(UTC) - HOUR) < timedelta(minutes=5)
    proxy.be_honest()
    proxy.forget_calls()
    assert world.sync("mood", mood).status is None
    assert proxy.count() == 0


@pytest.mark.parametrize("carried_out", [False, True], ids=["ignored", "carried out"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_write_with_an_unknown_outcome_is_repeated_harmlessly(
    world: World, proxy: Proxy, fault: str, *, carried_out: bool
) -> None:
    """Whether or not the PDS wrote the record, it is there once in the end."""
    mood = new_mood(world)
    proxy.answer(replace(FAULTS[fault], carried_out=carried_out), "putRecord")
    assert world.sync("mood", mood).status is Status.PENDING
    assert len(world.records("mood", mood)) == int(carried_out)
    proxy.be_honest()
    assert world.sync("mood", mood).status is Status.SYNCED
    assert len(world.records("mood", mood)) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_an_edit_with_an_unknown_outcome_ends_right(world: World, proxy: Proxy, fault: str) -> None:
    """The PDS may be a version ahead of what the state says: it is read, and decided again."""
    mood = new_mood(world)
    world.sync("mood", mood)
    world.platform.edit("mood", mood, mood="first edit")
    proxy.answer(replace(FAULTS[fault], carried_out=True), "putRecord")
    world.sync("mood", mood)
    world.platform.edit("mood", mood, mood="second edit")
    proxy.be_honest()
    assert world.sync("mood", mood).status is Status.SYNCED
    assert world.record("mood", mood)["text"] == "second edit"


@pytest.mark.parametrize("status", [403, 503])
def test_an_item_that_always_gets_the_page_of_a_gateway_fails_alone(
    world: World, proxy: Proxy, status: int
) -> None:
    """Its attempts are counted; other items of the account are published meanwhile."""
    mood = new_mood(world)
    proxy.answer(PAGES[status], about=str(mood))
    for _ in range(world.services.settings.retry.max_attempts - 1):
        assert world.sync("mood", mood).status is Status.PENDING
    assert world.sync("mood", world.platform.save_mood("other", world.ada)).status is Status.SYNCED
    outcome = world.sync("mood", mood)
    assert (outcome.status, outcome.error and outcome.error.code) == ("failed", f"pds_{status}")
    assert proxy.count("createSession") <= 1


def test_a_removal_that_failed_is_not_called_done(world: World, proxy: Proxy) -> None:
    """The state is cleared only after the delete is confirmed."""
    mood = new_mood(world)
    world.sync("mood", mood)
    world.platform.edit("mood", mood, deleted=True)
    proxy.answer(FAULTS["500"], "deleteRecord")
    assert world.sync("mood", mood).status is Status.PENDING
    assert "uri" in world.platform.state("mood", mood)
    assert len(world.records("mood", mood)) == 1
    proxy.be_honest()
    assert world.sync("mood", mood).status is Status.REMOVED
    assert world.records("mood", mood) == []


def test_a_removal_for_a_deleted_document_is_kept_until_it_is_done(
    world: World, proxy: Proxy
) -> None:
    """There is no document to keep it on: it waits in a collection of its own."""
    mood = new_mood(world)
    world.sync("mood", mood)
    world.platform.delete("mood", mood)
    proxy.answer(FAULTS["500"], "deleteRecord")
    outcome = world.sync("mood", mood, user=world.ada)
    assert outcome.status is Status.PENDING
    assert outcome.retry_at is not None
    removals = world.services.storage.database["atproto_removals"]
    assert removals.count_documents({}) == 1
    proxy.be_honest()
    assert world.sync("mood", mood, user=world.ada).status is Status.REMOVED
    assert removals.count_documents({}) == 0
    assert world.records("mood", mood) == []


def test_a_cache_that_takes_no_thumbnail_in_does_not_keep_one_from_being_published(
    world: World,
) -> None:
    """MongoDB refuses the cache's writes, and the painting has its thumbnail all the same."""
    world.platform.store("uncached.png", pixel_art(), world.ada)
    painting = world.platform.save_painting("uncached", world.ada)
    world.services.ensure_indexes()
    never = {"never": {"$exists": True}}
    world.services.storage.database.command("collMod", COLLECTION, validator=never)
    assert world.sync("painting", painting).status is Status.SYNCED
    assert "thumbnail" in world.record("painting", painting)
    assert world.services.storage.database[COLLECTION].count_documents({}) == 0


def test_bytes_that_another_program_uploaded_under_another_type_are_published(
    world: World,
) -> None:
    """The PDS keeps the first type, and the record names that one."""
    source = b"// a program that was uploaded as plain text\n"
    account = world.services.storage.accounts.find(world.ada)
    assert account is not None
    world.services.sync.engine.open_repo(account).upload(source, "text/plain")
    world.platform.store("typed.mjs", source, world.ada)
    piece = world.platform.save_piece("typed", world.ada)
    assert world.sync("piece", piece).status is Status.SYNCED
    assert world.record("piece", piece)["source"]["mimeType"] == "text/plain"  # type: ignore[index]
    revision = world.revision(world.dids[world.ada])
    assert world.sync("piece", piece).status is Status.SYNCED
    assert world.revision(world.dids[world.ada]) == revision


def test_a_blob_whose_stored_type_its_lexicon_refuses_is_left_out(
    world: World, proxy: Proxy
) -> None:
    """The record is published without it."""
    world.platform.store("gif.png", pixel_art((3, 5)), world.ada)
    painting = world.platform.save_painting("gif", world.ada)
    text = "Referenced Mimetype does not match stored blob. Expected: image/gif, Got: image/png"
    body = json.dumps({"error": "InvalidMimeType", "message": text}).encode()
    proxy.answer(Reply(400, body), "putRecord")

    def recover(step: str) -> None:
        if "InvalidMimeType" in step:
            proxy.be_honest()

    outcome = world.sync("painting", painting, observer=recover)
    assert outcome.status is Status.PARTIAL
    assert outcome.error is not None
    assert outcome.error.code == "blob_type_conflict"
    assert "thumbnail" not in world.record("painting", painting)
