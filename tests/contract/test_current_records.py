"""Records of older programs: current ones are adopted, others are rewritten once.

The four tests that take an `older` item have four cases each, chosen pairwise: each type, each
field that names a document and each form of a state (if it can occur) is in a case of each test;
each two values of type, field and form are in a case together. All combinations would be 72 cases.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.bulk import (
    assert_agreement,
    new_user,
    repo,
    save_moods,
    save_one_of,
    save_painting,
    set_state,
    statuses,
    sync_batch,
)
from tests.contract.older_records import Older, blobs_of, write_older
from tests.pictures import photo, pixel_art
from tests.watching import Watch
from tests.world import World
from worker.core.cid import cid_of_blob
from worker.core.clock import now
from worker.core.record_keys import tid_for
from worker.files.thumbnail import ThumbnailSettings
from worker.media import media_type
from worker.sync.blobs import BlobBuilder
from worker.sync.engine import Engine


@pytest.fixture
def user(world: World) -> str:
    """A new user of the world."""
    return new_user(world)


@pytest.fixture
def painting(world: World, user: str) -> Older:
    """A painting with the record of an older program."""
    return write_older(world, user, "painting", save_painting(world, 9, user))


def watched(world: World, watch: Watch) -> Engine:
    """Return an engine whose calls are counted."""
    return replace(world.services.sync.engine, open_repo=watch.open_repo)


@pytest.fixture(scope="module")
def owner(world: World) -> str:
    """A user whose earlier items are all in order."""
    return new_user(world)


@pytest.fixture
def older(world: World, owner: str, request: pytest.FixtureRequest) -> Older:
    """An item of a type, its record with `ref` or with `mongoId`, and the form of its state."""
    type_name, field, form = request.param.split(": ")
    item = save_one_of(world, type_name, owner)
    older = write_older(world, owner, type_name, item, mongo_id=field == "mongoId")
    return older if form == "nothing" else older.legacy(form)


@pytest.mark.parametrize(
    "older",
    [
        "painting: ref: rkey alone",
        "mood: mongoId: rkey and uri",
        "piece: mongoId: rkey alone",
        "kidlisp: ref: rkey and uri",
    ],
    indirect=True,
)
def test_a_legacy_document_with_a_current_record_is_adopted(
    world: World, watch: Watch, older: Older
) -> None:
    """One read, and one of each blob; then it is as any other, for the audit and the page too.

    The next run reads the record again, to confirm that it is still there.
    """
    before = older.revision
    assert {fault for fault, _ in older.findings()} == {"state_mismatch"}
    assert older.differences() == 0
    assert older.sync(watched(world, watch)) == "synced"
    blobs = len(blobs_of(older.record))
    assert watch.count == {"get": 1, **({"has_blob": blobs} if blobs else {})}
    older.assert_adopted()
    assert older.sync(watched(world, watch)) == "synced"
    assert watch.count["get"] == 2
    assert older.batch(watch) == {"synced": 1}
    assert (watch.sizes, older.revision) == ([], before)
    assert older.findings() == []
    assert older.differences() == 0


@pytest.mark.parametrize(
    "older",
    [
        "painting: mongoId: rkey and uri",
        "mood: ref: nothing",
        "piece: mongoId: nothing",
        "kidlisp: mongoId: rkey alone",
    ],
    indirect=True,
)
def test_a_backfill_adopts_current_records(watch: Watch, older: Older) -> None:
    """Also those of documents without any state, which it finds by `ref` or by `mongoId`."""
    before = older.revision
    assert older.batch(watch, backfill=uuid4().hex) == {"synced": 1}
    blobs = len(blobs_of(older.record))
    assert watch.count == {"export": 1, **({"has_blob": blobs} if blobs else {})}
    assert older.revision == before
    older.assert_adopted()
    assert older.findings() == []
    assert_agreement(older.world, older.user)


@pytest.mark.parametrize(
    "older",
    [
        "painting: ref: nothing",
        "mood: mongoId: rkey alone",
        "piece: ref: rkey and uri",
        "kidlisp: mongoId: nothing",
    ],
    indirect=True,
)
def test_a_repair_adopts_current_records_without_a_write(older: Older) -> None:
    """The audit says that the state lies, not that the record is stale."""
    before = older.revision
    ((fault, detail),) = older.findings()
    assert fault == "state_mismatch"
    assert "cid is absent" in detail
    assert older.findings(repair=True) == []
    assert older.revision == before
    older.assert_adopted()


def test_a_batch_of_no_backfill_reads_legacy_documents_one_by_one(
    world: World, user: str, watch: Watch
) -> None:
    """The others of the batch share one write. The records of the repo were adopted before."""
    world.sync("mood", save_moods(world, 1, user)[0])
    older = write_older(world, user, "mood", save_moods(world, 1, user)[0]).legacy("rkey alone")
    fresh = save_moods(world, 3, user)
    before = older.published
    items = [older.item, *fresh]
    outcomes = sync_batch(world, "mood", items, subject=user, batches=watch.batches)
    assert statuses(outcomes) == {"synced": 4}
    assert (watch.count["get"], watch.sizes, watch.count["put"]) == (1, [3], 0)
    assert older.published == before
    older.assert_adopted()


def test_only_published_documents_are_read(world: World, user: str, watch: Watch) -> None:
    """Not new ones, and not wiped ones, which a restore writes together."""
    new, published, wiped = save_moods(world, 3, user)
    sync_batch(world, "mood", [published], subject=user)
    key = tid_for(wiped, now())
    gone = {"status": "removed", "reason": "wiped", "rkey": key, "repo": world.dids[user]}
    set_state(world, media_type("mood"), wiped, **gone)
    for item in (new, published):
        world.sync("mood", item, engine=watched(world, watch))
    assert watch.count == {"put": 1, "get": 1}
    outcomes = sync_batch(world, "mood", [wiped], subject=user, batches=watch.batches)
    assert statuses(outcomes) == {"synced": 1}
    assert (watch.count["get"], watch.sizes) == (1, [1])


def test_items_that_follow_their_user_are_read_in_the_old_repo(
    world: World, user: str, watch: Watch
) -> None:
    """Before they are deleted there. In the new repo, the first write shows a record."""
    (item,) = save_moods(world, 1, user)
    sync_batch(world, "mood", [item], subject=user)
    world.platform.edit("mood", item, user=new_user(world))
    world.sync("mood", item, engine=watched(world, watch))
    assert watch.count["get"] == 1


def test_a_legacy_document_without_its_record_is_published(world: World, user: str) -> None:
    """At the key that it names."""
    (item,) = save_moods(world, 1, user)
    set_state(world, media_type("mood"), item, rkey="3gone22222222")
    world.sync("mood", item)
    assert str(world.platform.state("mood", item)["uri"]).endswith("/3gone22222222")
    assert_agreement(world, user)


def test_blobs_of_another_documents_record_are_not_adopted(world: World, painting: Older) -> None:
    """The key in a state may be wrong: this one is of another painting."""
    other = save_painting(world, 12, painting.user)
    set_state(world, media_type("painting"), other, rkey=painting.key.rkey)
    world.sync("painting", other)
    assert world.record("painting", other)["thumbnail"] != painting.record["thumbnail"]


@pytest.mark.parametrize("how", ["alone", "in a backfill"])
@pytest.mark.parametrize(
    ("type_name", "change"),
    [
        ("painting", {"acUrl": "https://old.example/1"}),
        ("painting", {"slug": "old"}),
        ("kidlisp", {"acUrl": "https://old.example/2"}),
        ("piece", {"code": "old"}),
        ("mood", {"stranger": 1}),
    ],
    ids=str,
)
def test_what_is_present_and_wrong_is_rewritten_once(
    world: World, user: str, type_name: str, change: dict[str, object], how: str
) -> None:
    """It becomes the expected record, with the blobs that it had."""
    older = write_older(world, user, type_name, save_one_of(world, type_name, user))
    older = older.put(**change).legacy("rkey alone")
    sync = older.sync if how == "alone" else lambda: older.batch(backfill=uuid4().hex)
    assert "stale" in {fault for fault, _ in older.findings()}
    assert older.differences() > 0
    before = older.revision
    sync()
    written = older.revision
    assert written != before
    assert change.items().isdisjoint(older.published.items())
    assert older.published.get("thumbnail") == older.record.get("thumbnail")
    assert older.findings() == []
    sync()
    assert older.revision == written


@pytest.mark.parametrize(
    "older",
    [
        "painting: mongoId: nothing",
        "mood: ref: rkey and uri",
        "piece: ref: nothing",
        "kidlisp: ref: rkey alone",
    ],
    indirect=True,
)
def test_the_record_of_a_deleted_document_is_found_by_either_name(
    world: World, older: Older
) -> None:
    """No state is left that names its key."""
    world.platform.delete(older.type_name, older.item)
    assert world.sync(older.type_name, older.item, user=older.user).status == "removed"
    assert repo(world, older.user).get(older.key) is None


def test_an_edit_of_an_adopted_item_keeps_its_thumbnail(painting: Older) -> None:
    """The record becomes complete; a new image gets a new thumbnail."""
    painting.legacy("rkey alone").sync()
    painting.world.platform.edit("painting", painting.item, code="new")
    painting.sync()
    assert painting.published["thumbnail"] == painting.record["thumbnail"]
    assert str(painting.published["acUrl"]).endswith("#new")
    slug = painting.published["slug"]
    painting.world.platform.store(f"{slug}.png", pixel_art((16, 16)), painting.user)
    painting.sync()
    assert painting.published["thumbnail"] != painting.record["thumbnail"]
    assert painting.findings() == []


@pytest.mark.parametrize("how", ["alone", "in a batch", "in a backfill"])
def test_a_record_without_its_blob_is_rewritten_with_a_new_one(
    painting: Older, pds_blobs: Path, how: str
) -> None:
    """The PDS lists the blob, and cannot send it."""
    lost = blobs_of(painting.record)["thumbnail"]
    (pds_blobs / painting.did / lost).unlink()
    painting.legacy("rkey alone")
    if how == "alone":
        painting.sync()
    else:
        painting.batch(backfill=uuid4().hex if how == "in a backfill" else None)
    painting.assert_adopted()
    thumbnail = painting.published["thumbnail"]
    assert painting.world.blob(painting.did, thumbnail)
    assert blobs_of(painting.published)["thumbnail"] != lost
    assert painting.findings() == []


@pytest.mark.parametrize("how", ["alone", "in a batch", "in a backfill"])
def test_a_record_without_its_blob_and_its_file_is_rewritten_without_them(
    painting: Older, pds_blobs: Path, how: str
) -> None:
    """It refers to no blob that the PDS cannot send; the file is still expected."""
    platform = painting.world.platform
    image = platform.store(f"{painting.record['slug']}.png", pixel_art((9, 9)), painting.user)
    image.unlink()
    (pds_blobs / painting.did / blobs_of(painting.record)["thumbnail"]).unlink()
    painting.legacy("rkey alone")
    if how == "alone":
        painting.sync()
    else:
        painting.batch(backfill=uuid4().hex if how == "in a backfill" else None)
    assert painting.state["status"] == "partial"
    assert "thumbnail" not in painting.published
    assert painting.findings() == []
    before = painting.revision
    assert painting.sync() == "partial"
    assert painting.revision == before
    platform.store(image.name, pixel_art((9, 9)), painting.user)
    assert painting.sync() == "synced"
    painting.assert_adopted()


@pytest.mark.parametrize("how", ["alone", "in a backfill"])
def test_a_blob_that_the_lexicon_does_not_accept_is_replaced(painting: Older, how: str) -> None:
    """It is of another type, for example."""
    owned = repo(painting.world, painting.user)
    data = uuid4().bytes
    owned.upload(data, "text/plain")
    link, size = {"$link": cid_of_blob(data)}, {"mimeType": "text/plain", "size": len(data)}
    older = painting.put(thumbnail={"$type": "blob", "ref": link, **size}).legacy("rkey alone")
    if how == "alone":
        older.sync()
    else:
        older.batch(backfill=uuid4().hex)
    older.assert_adopted()
    assert blobs_of(older.published)["thumbnail"] != link["$link"]


def test_a_current_piece_without_its_source_uploads_none(
    world: World, user: str, watch: Watch
) -> None:
    """The record does not refer to it; an edit publishes it."""
    older = write_older(world, user, "piece", save_one_of(world, "piece", user))
    older.legacy("rkey alone").sync(watched(world, watch))
    assert (watch.count["upload"], older.state.get("blobs")) == (0, None)
    world.platform.edit("piece", older.item, when=now())
    older.sync(watched(world, watch))
    assert (watch.count["upload"], watch.count["put"]) == (1, 1)
    assert "source" in older.published
    older.assert_adopted()
    assert older.differences() == 0


def test_a_piece_that_was_published_without_its_source_gets_it(world: World, user: str) -> None:
    """Its own record is not complete before the file is there."""
    slug = f"s{uuid4().hex[:10]}"
    item = world.platform.save_piece(slug, user)
    assert world.sync("piece", item).status == "partial"
    world.platform.store(f"{slug}.mjs", b"export const a = 1", user)
    assert world.sync("piece", item).status == "synced"
    assert "source" in world.record("piece", item)


def test_a_current_piece_whose_file_is_missing_is_synced(world: World, user: str) -> None:
    """Its record never had a source."""
    item = world.platform.save_piece(f"s{uuid4().hex[:10]}", user)
    older = write_older(world, user, "piece", item).legacy("rkey alone")
    before = older.revision
    assert older.sync() == "synced"
    assert (older.revision, older.findings(), older.differences()) == (before, [], 0)


def test_a_forced_write_makes_an_older_record_complete(world: World, user: str) -> None:
    """Current or not, it gets all additions."""
    older = write_older(world, user, "piece", save_one_of(world, "piece", user))
    older.legacy("rkey alone").sync()
    world.sync("piece", older.item, force=True)
    assert {*media_type("piece").additions} <= older.published.keys()
    older.assert_adopted()


def test_a_new_recipe_makes_no_published_record_stale(world: World, user: str) -> None:
    """Not ours and not an adopted one; new paintings get the new thumbnail, of another type."""
    ours = save_photograph(world, user)
    world.sync("painting", ours)
    older = write_older(world, user, "painting", save_painting(world, 11, user))
    older.legacy("rkey alone").sync()
    engine = with_recipe(world, ThumbnailSettings(size=32))
    before = older.revision
    for item in (ours, older.item):
        assert world.sync("painting", item, engine=engine).status == "synced"
    assert older.revision == before
    assert older.findings() == []
    new = save_photograph(world, user)
    assert world.sync("painting", new, engine=engine).status == "synced"
    states: list[Any] = [world.platform.state("painting", item) for item in (ours, new)]
    types = [state["blobs"]["thumbnail"]["mimeType"] for state in states]
    assert types == ["image/png", "image/jpeg"]


def save_photograph(world: World, user: str) -> ObjectId:
    """Save a painting that is smaller than 512 pixels and has many colours."""
    slug = f"p{uuid4().hex[:10]}"
    world.platform.store(f"{slug}.png", photo("PNG", (64, 48)), user)
    return world.platform.save_painting(slug, user)


def with_recipe(world: World, settings: ThumbnailSettings) -> Engine:
    """Return an engine that makes thumbnails of another size."""
    services = world.services
    attachments = services.sync.engine.publisher.attachments
    builder = BlobBuilder(
        services.media.sources, services.media.thumbnails, settings, max_source_bytes=10_000_000
    )
    publisher = replace(
        services.sync.engine.publisher, attachments=replace(attachments, blobs=builder)
    )
    return replace(services.sync.engine, publisher=publisher)


def test_a_recording_that_no_state_knows_is_no_difference(painting: Older) -> None:
    """Older programs wrote its link, and the next sync looks for the file."""
    slug, code = str(painting.record["slug"]), painting.record["code"]
    painting.world.platform.store(f"{slug}.zip", b"zip", painting.user)
    url = f"{painting.world.services.media.site.url}/media/paintings/{code}.zip"
    older = painting.put(recordingUrl=url).legacy("rkey alone")
    before = older.revision
    assert {fault for fault, _ in older.findings()} == {"state_mismatch"}
    assert older.differences() == 0
    older.sync()
    assert older.revision == before
    assert older.findings() == []


def test_a_newer_upload_is_not_replaced_by_the_records_blob(
    world: World, watch: Watch, painting: Older
) -> None:
    """The worker died between the upload of a new thumbnail and its write."""
    painting.legacy("rkey alone").sync()
    world.platform.store(f"{painting.record['slug']}.png", pixel_art((18, 18)), painting.user)
    watch.at(("before", "put"), die)
    with pytest.raises(RuntimeError):
        painting.sync(watched(world, watch))
    saved = {name: painting.state[name] for name in ("repo", "rkey", "blobs")}
    set_state(world, media_type("painting"), painting.item, status="pending", **saved)
    assert painting.batch(backfill=uuid4().hex) == {"synced": 1}
    assert painting.published["thumbnail"] != painting.record["thumbnail"]
    painting.assert_adopted()


def die() -> None:
    """End a run as a bug would."""
    raise RuntimeError
