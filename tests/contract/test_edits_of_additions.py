"""An edit causes a rewrite, also of the fields that records of older programs may lack."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.backfills import dry_run
from tests.bulk import new_user, repo
from tests.contract.older_records import Older, blobs_of, write_older
from tests.world import World
from worker.core.cid import cid_of_blob
from worker.core.clock import now
from worker.media import MEDIA_TYPES, media_type
from worker.operations.backfill.planner import Scope
from worker.operations.backfill.rehearsed_item import Effect
from worker.operations.media_records import create_media_record
from worker.operations.preview import Action

Sync = Callable[[Older], object]
PIECE = media_type("piece")


@pytest.fixture
def user(world: World) -> str:
    """A new user of the world."""
    return new_user(world)


@pytest.fixture(params=["alone", "in a batch", "in a backfill"])
def sync(request: pytest.FixtureRequest) -> Sync:
    """Sync an item in each of the three ways."""
    if request.param == "alone":
        return Older.sync
    in_backfill = request.param == "in a backfill"
    return lambda older: older.batch(backfill=uuid4().hex if in_backfill else None)


def save_piece(world: World, user: str, **fields: object) -> ObjectId:
    """Save a piece as the piece store does; None leaves a field out."""
    item = ObjectId()
    code = uuid4().hex[:6]
    values = {"code": code, "slug": f"2025/03/12/{code}", "source": f"// {code}", **fields}
    saved = {name: value for name, value in values.items() if value is not None}
    pieces = world.platform.database["pieces"]
    pieces.insert_one({"_id": item, "user": user, "when": now(), **saved})
    return item


def publish(world: World, user: str, item: ObjectId) -> Older:
    """Sync a new piece; return it with the record that the sync wrote."""
    assert world.sync("piece", item).status == "synced"
    key = repo(world, user).key(PIECE.nsid, str(world.platform.state("piece", item)["rkey"]))
    return Older(world, user, "piece", item, key, {})


def adopt(world: World, user: str, item: ObjectId) -> Older:
    """Write the record of an older program, without additions, and adopt it."""
    older = write_older(world, user, "piece", item).legacy("rkey alone")
    before = older.revision
    assert older.sync() == "synced"
    assert (older.revision, older.state["adopted"]) == (before, True)
    return older


def planned(piece: Older) -> Action | None:
    """Return what a dry run of the Python API says."""
    return create_media_record(piece.world.services, "piece", piece.item, dry_run=True).action


def assert_stale(piece: Older) -> None:
    """Assert that the audit, the page and the dry run expect a write."""
    assert [fault for fault, _ in piece.findings()] == ["stale"]
    assert piece.differences() > 0
    assert planned(piece) is Action.PUBLISH


def assert_current(piece: Older) -> None:
    """Assert that the audit, the page and the dry run expect no write, and that a sync has none."""
    assert (piece.findings(), piece.differences()) == ([], 0)
    assert planned(piece) is Action.NOTHING
    before = piece.revision
    assert piece.sync() == "synced"
    assert piece.batch() == {"synced": 1}
    assert piece.revision == before


def assert_rewritten(piece: Older, sync: Sync) -> None:
    """Assert that the next sync, and no other one, writes the piece's own record."""
    assert_stale(piece)
    before = piece.revision
    sync(piece)
    assert piece.revision != before
    assert "adopted" not in piece.state
    piece.assert_adopted()
    assert_current(piece)


@pytest.mark.parametrize("field", ["code", "source"])
def test_an_own_record_gets_an_addition_that_its_document_gets(
    world: World, user: str, sync: Sync, field: str
) -> None:
    """A script filled in the field later."""
    piece = publish(world, user, save_piece(world, user, code=None, source=None))
    assert field not in piece.published
    world.platform.edit("piece", piece.item, **{field: "late"})
    assert_rewritten(piece, sync)
    assert field in piece.published


def test_an_own_record_gets_an_edited_source(world: World, user: str, sync: Sync) -> None:
    """No blob of it is known to the PDS before."""
    piece = publish(world, user, save_piece(world, user))
    world.platform.edit("piece", piece.item, source="// edited")
    assert_rewritten(piece, sync)
    assert blobs_of(piece.published)["source"] == cid_of_blob(b"// edited")


@pytest.mark.parametrize("field", ["code", "source", "when"])
def test_an_edit_of_an_adopted_piece_makes_its_record_complete(
    world: World, user: str, sync: Sync, field: str
) -> None:
    """Of a field that the record lacks, or of any other."""
    piece = adopt(world, user, save_piece(world, user))
    world.platform.edit("piece", piece.item, **{field: now() if field == "when" else "edited"})
    assert_rewritten(piece, sync)
    assert {*PIECE.additions} <= piece.published.keys()


def test_an_addition_that_an_adopted_piece_gets_is_published(
    world: World, user: str, sync: Sync
) -> None:
    """Its record lacks the code, as its document did."""
    piece = adopt(world, user, save_piece(world, user, code=None))
    world.platform.edit("piece", piece.item, code="late")
    assert_rewritten(piece, sync)
    assert piece.published["code"] == "late"


def test_an_adopted_record_stays_current_without_an_edit(
    world: World, user: str, sync: Sync
) -> None:
    """However often it is synced, and after a repair of its state."""
    piece = write_older(world, user, "piece", save_piece(world, user)).legacy("rkey alone")
    before = piece.revision
    sync(piece)
    assert piece.state["adopted"] is True
    assert_current(piece)
    sync(piece)
    assert (piece.revision, piece.state["adopted"]) == (before, True)


def test_a_repair_adopts_a_record_that_no_state_knows(world: World, user: str) -> None:
    """It stays current, until the document is edited."""
    piece = write_older(world, user, "piece", save_piece(world, user))
    before = piece.revision
    assert piece.findings(repair=True) == []
    assert (piece.revision, piece.state["adopted"]) == (before, True)
    assert_current(piece)
    world.platform.edit("piece", piece.item, code="edited")
    assert_stale(piece)
    assert piece.findings(repair=True) == []
    assert_current(piece)
    assert "adopted" not in piece.state


def test_an_own_record_that_an_older_program_replaced_is_repaired(world: World, user: str) -> None:
    """What it lacks now was published."""
    piece = publish(world, user, save_piece(world, user))
    piece.put(acUrl=None, code=None)
    assert [fault for fault, _ in piece.findings()] == ["stale"]
    assert piece.differences() > 0
    assert piece.findings(repair=True) == []
    assert {*PIECE.additions} <= piece.published.keys()
    assert "adopted" not in piece.state


def test_a_hidden_adopted_item_is_shown_again_with_an_own_record(world: World, user: str) -> None:
    """Its new record is complete."""
    piece = adopt(world, user, save_piece(world, user))
    world.platform.edit("piece", piece.item, nuked=True)
    assert piece.sync() == "removed"
    assert "adopted" not in piece.state
    world.platform.edit("piece", piece.item, nuked=False)
    assert piece.sync() == "synced"
    assert {*PIECE.additions} <= piece.published.keys()
    assert_current(piece)


def test_the_first_handle_completes_an_own_record_and_not_an_adopted_one(
    world: World, user: str, sync: Sync
) -> None:
    """A handle is not in the document: no edit."""
    handles = world.platform.database["@handles"]
    handle = handles.find_one_and_delete({"_id": user})
    assert handle
    own = publish(world, user, save_piece(world, user, slug=uuid4().hex, source=None))
    adopted = adopt(world, user, save_piece(world, user, slug=uuid4().hex, source=None))
    assert "acUrl" not in own.published
    handles.insert_one(handle)
    assert_stale(own)
    assert (adopted.differences(), planned(adopted)) == (0, Action.NOTHING)
    before = adopted.published
    sync(own)
    sync(adopted)
    assert str(own.published["acUrl"]).endswith(f"/@{handle['handle']}/{own.published['slug']}")
    assert adopted.published == before
    assert_current(own)
    assert_current(adopted)


def test_a_wrong_source_in_a_record_of_an_older_program_is_a_change(
    world: World, user: str, sync: Sync
) -> None:
    """A dry run of a backfill counts it, and a sync writes the source of the document."""
    piece = write_older(world, user, "piece", save_piece(world, user))
    blob = repo(world, user).upload(b"// old", "text/javascript")
    ref = {"ref": {"$link": blob.cid}, "mimeType": blob.mime_type, "size": blob.size}
    piece = piece.put(source={"$type": "blob", **ref}).legacy("rkey alone")
    done = dry_run(world.services, Scope(list(MEDIA_TYPES.values()), [user]))
    assert done.effects == {("piece", Effect.CHANGED): 1}
    assert done.fields["piece", "source"] == 1
    assert "stale" in {fault for fault, _ in piece.findings()}
    sync(piece)
    assert blobs_of(piece.published)["source"] != blob.cid
    assert_current(piece)


def test_a_right_source_in_a_record_of_an_older_program_is_none(world: World, user: str) -> None:
    """Whatever MIME type that program has given it."""
    piece = write_older(world, user, "piece", save_piece(world, user, source="// same"))
    blob = repo(world, user).upload(b"// same", "text/plain")
    ref = {"ref": {"$link": blob.cid}, "mimeType": "text/plain", "size": blob.size}
    piece = piece.put(source={"$type": "blob", **ref}).legacy("rkey alone")
    done = dry_run(world.services, Scope(list(MEDIA_TYPES.values()), [user]))
    assert done.effects == {("piece", Effect.UNCHANGED): 1}
    before = piece.revision
    piece.sync()
    assert piece.revision == before
    assert_current(piece)


def test_a_source_that_cannot_be_uploaded_is_not_expected(world: World, user: str) -> None:
    """It is too large: the record keeps the one before, and the audit says so."""
    piece = publish(world, user, save_piece(world, user))
    before = piece.published
    world.platform.edit("piece", piece.item, source="/" * 1_048_577)
    assert piece.findings() == []
    assert piece.sync() == "partial"
    assert piece.published == before
    assert piece.findings() == []
