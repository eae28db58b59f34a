"""The Python API syncs saved documents of users and guests, and rejects contradicting values."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.bulk import repo
from tests.contract.older_records import Older, write_older
from tests.pictures import pixel_art
from tests.world import World
from worker.core.documents import Status
from worker.core.errors import PermanentError
from worker.core.ids import InvalidIdError
from worker.database.accounts import UnknownAccountError
from worker.media import OWN_TYPES, media_type
from worker.operations.media_records import (
    MediaRecordError,
    MediaRecordResult,
    MediaTypes,
    create_media_record,
    delete_media_record,
    update_media_record,
)
from worker.operations.preview import Action

KIDLISP = MediaTypes.KIDLISP


@dataclass(frozen=True)
class Author:
    """A user, or all guests, whose items the API publishes."""

    world: World
    user: str | None

    @property
    def did(self) -> str:
        return self.world.dids[self.user or "art-guest"]

    def save(self, source: str = "(wipe blue)") -> ObjectId:
        """Save a program without a record."""
        return self.world.platform.save_kidlisp(source, self.user)

    def document(self, item: ObjectId) -> dict[str, Any]:
        """Return a document as it is saved."""
        found = self.world.services.storage.database["kidlisp"].find_one({"_id": item})
        assert found
        return found

    def create(self, item: Any, **options: Any) -> MediaRecordResult:
        return create_media_record(self.world.services, KIDLISP, item, **options)

    def update(self, rkey: str | None, updates: Any, **options: Any) -> MediaRecordResult:
        services = self.world.services
        return update_media_record(services, KIDLISP, self.user, rkey or "", updates, **options)

    def delete(self, rkey: str | None, **options: Any) -> MediaRecordResult:
        services = self.world.services
        return delete_media_record(services, KIDLISP, self.user, rkey or "", **options)

    def published(self) -> MediaRecordResult:
        """Save and publish a program."""
        return self.create(self.save())

    def snapshot(self) -> object:
        """Return all documents with their states, and the commit of the repo."""
        database = self.world.services.storage.database
        names = sorted(database.list_collection_names())
        documents = {name: list(database[name].find({}).sort("_id")) for name in names}
        return documents, self.world.revision(self.did)


@pytest.fixture(params=["user", "guest"])
def author(request: pytest.FixtureRequest, new_world: World) -> Author:
    """Return a user, and then the guests."""
    return Author(new_world, new_world.ada if request.param == "user" else None)


@pytest.fixture
def ada(new_world: World) -> Author:
    """Return a user."""
    return Author(new_world, new_world.ada)


def rejected(call: Callable[[], object], author: Author) -> MediaRecordError:
    """Return the error of a call that changes nothing."""
    before = author.snapshot()
    with pytest.raises(MediaRecordError) as raised:
        call()
    assert author.snapshot() == before
    assert isinstance(raised.value, PermanentError)
    return raised.value


def test_constants_are_the_names_of_the_media_types() -> None:
    """Types of other packages are given by name."""
    assert [str(each) for each in MediaTypes] == [kind.name for kind in OWN_TYPES]


@pytest.mark.parametrize("as_document", [True, False])
def test_a_saved_document_is_published(author: Author, as_document: bool) -> None:  # noqa: FBT001
    """Given as the document or by its id; the second call writes nothing."""
    item = author.save()
    given = author.document(item) if as_document else item
    result = author.create(given, user_sub=author.user)
    state = author.world.platform.state("kidlisp", item)
    assert (result.type, result.id, result.status) == ("kidlisp", item, Status.SYNCED)
    assert (result.uri, result.cid, result.rkey) == (state["uri"], state["cid"], state["rkey"])
    assert (result.reason, result.error, result.action, result.record) == (None, None, None, None)
    assert str(result.uri).startswith(f"at://{author.did}/")
    assert author.world.record("kidlisp", item)["source"] == "(wipe blue)"
    before = author.world.revision(author.did)
    assert author.create(str(item)) == result
    assert author.world.revision(author.did) == before


def test_a_document_that_is_not_saved_is_rejected(author: Author) -> None:
    """The error asks for it to be saved first; without an id it is no document."""
    error = rejected(lambda: author.create({"_id": ObjectId(), "source": "(box)"}), author)
    assert error.code == "document_missing"
    assert "save the document first" in error.message
    with pytest.raises(InvalidIdError):
        author.create({"source": "(box)"})


def test_fields_that_contradict_the_saved_document_are_named(author: Author) -> None:
    """Only those that the type reads; nothing is published."""
    item = author.save()
    changed = author.document(item) | {"source": "(box)", "when": "today", "hits": 7}
    error = rejected(lambda: author.create(changed), author)
    assert error.code == "document_mismatch"
    assert "source, when" in error.message
    assert "save the change to MongoDB first" in error.message
    assert author.create(author.document(item) | {"hits": 7}).status is Status.SYNCED


def test_a_date_may_be_more_exact_than_mongodb_saves_it(ada: Author) -> None:
    """In any time zone, or without one: then it is UTC."""
    item = ada.save()
    saved = ada.document(item)
    when = saved["when"] + timedelta(microseconds=7)
    assert ada.create(saved | {"when": when}).status is Status.SYNCED
    assert ada.create(saved | {"when": when.replace(tzinfo=None)}).status is Status.SYNCED
    later = saved | {"when": when + timedelta(milliseconds=1)}
    assert "when" in rejected(lambda: ada.create(later), ada).message


def test_another_owner_is_rejected(author: Author) -> None:
    """A user's item is no guest's, nor another user's."""
    item = author.save()
    others = {author.world.ada, author.world.bob, None} - {author.user}
    for other in others:
        error = rejected(partial(author.create, item, user_sub=other), author)
        assert error.code == "document_mismatch"
        assert "belongs to" in error.message


def test_a_saved_change_is_published(author: Author) -> None:
    """Found by its owner and record key, which stays."""
    created = author.published()
    assert isinstance(created.id, ObjectId)
    author.world.platform.edit("kidlisp", created.id, source="(wipe red)")
    updated = author.update(created.rkey, {"source": "(wipe red)"})
    assert (updated.status, updated.uri, updated.error) == (Status.SYNCED, created.uri, None)
    assert updated.cid != created.cid
    assert author.world.record("kidlisp", created.id)["source"] == "(wipe red)"


def test_a_change_that_is_not_saved_is_rejected(author: Author) -> None:
    """It names the fields; the record stays."""
    created = author.published()
    error = rejected(lambda: author.update(created.rkey, {"source": "(box)"}), author)
    assert (error.code, "another source" in error.message) == ("document_mismatch", True)


def test_an_update_of_an_unknown_record_is_rejected(author: Author) -> None:
    """Of no record, and of another owner's."""
    other = Author(author.world, author.world.bob).published()
    for rkey in ("3jzfcijpj2z2a", other.rkey):
        error = rejected(partial(author.update, rkey, {}), author)
        assert error.code == "document_missing"


def test_an_update_by_a_former_owner_is_rejected(author: Author) -> None:
    """The record may still be in the repo of the former owner."""
    created = author.published()
    assert isinstance(created.id, ObjectId)
    author.world.platform.edit("kidlisp", created.id, user=author.world.bob)
    error = rejected(partial(author.update, created.rkey, {}), author)
    assert error.code == "document_mismatch"
    assert f"belongs to {author.world.bob}" in error.message


def test_a_user_without_an_account_has_no_records(ada: Author) -> None:
    """Update and delete; a creation is skipped, as that of a live save."""
    stranger = Author(ada.world, "auth0|stranger")
    with pytest.raises(UnknownAccountError):
        stranger.update("3jzfcijpj2z2a", {})
    with pytest.raises(UnknownAccountError):
        stranger.delete("3jzfcijpj2z2a")
    result = stranger.create(stranger.save())
    assert (result.status, result.reason) == (Status.SKIPPED, "no_account")


def test_the_record_of_a_hidden_document_is_deleted(author: Author) -> None:
    """Once and again."""
    created = author.published()
    assert isinstance(created.id, ObjectId)
    author.world.platform.edit("kidlisp", created.id, nuked=True)
    for _ in range(2):
        deleted = author.delete(created.rkey)
        assert (deleted.id, deleted.status) == (created.id, Status.REMOVED)
        assert (deleted.reason, deleted.uri, deleted.cid) == ("nuked", None, None)
    assert author.world.records("kidlisp", created.id) == []


def test_the_record_of_a_deleted_document_is_deleted(author: Author) -> None:
    """The result has no id."""
    created = author.published()
    assert isinstance(created.id, ObjectId)
    author.world.platform.delete("kidlisp", created.id)
    deleted = author.delete(created.rkey)
    assert (deleted.id, deleted.status, deleted.rkey) == (None, Status.REMOVED, created.rkey)
    assert author.world.records("kidlisp", created.id) == []


def test_the_record_of_a_visible_document_is_not_deleted(author: Author) -> None:
    """The error names the flag to set; a dry run says the same."""
    created = author.published()
    for dry_run in (False, True):
        error = rejected(partial(author.delete, created.rkey, dry_run=dry_run), author)
        assert error.code == "document_not_hidden"
        assert "`nuked: true`" in error.message


@pytest.fixture(params=["ref", "mongoId"])
def older(request: pytest.FixtureRequest, ada: Author) -> Older:
    """Return a mood with a record of an older program, and without a state."""
    item = ada.world.platform.save_mood("calm", ada.user)
    by_mongo_id = request.param == "mongoId"
    return write_older(ada.world, ada.world.ada, "mood", item, mongo_id=by_mongo_id)


def test_the_record_of_a_visible_document_without_a_state_is_not_deleted(
    older: Older, ada: Author
) -> None:
    """The record names the document, and the document is as good as one with a state."""
    for dry_run in (True, False):
        error = rejected(partial(delete_older, older, dry_run=dry_run), ada)
        assert error.code == "document_not_hidden"


def test_the_record_of_a_hidden_document_without_a_state_is_deleted(
    older: Older, ada: Author
) -> None:
    """The result names the document; once the record is gone, the document is unknown."""
    older.world.platform.edit("mood", older.item, deleted=True)
    before = ada.snapshot()
    dry = delete_older(older, dry_run=True)
    assert ada.snapshot() == before
    assert (dry.action, dry.id, dry.reason) == (Action.REMOVE, older.item, "deleted")
    done = delete_older(older)
    assert (done.status, done.id, done.reason) == (Status.REMOVED, older.item, "deleted")
    assert repo(older.world, older.user).get(older.key) is None
    assert delete_older(older, dry_run=True).action is Action.NOTHING


def test_a_record_that_names_a_document_of_another_owner_is_deleted(
    older: Older, ada: Author
) -> None:
    """That document is published in the repo of its owner."""
    older.world.platform.edit("mood", older.item, user=ada.world.bob)
    assert delete_older(older, dry_run=True).action is Action.REMOVE
    done = delete_older(older)
    assert (done.status, done.id) == (Status.REMOVED, None)


def delete_older(older: Older, *, dry_run: bool = False) -> MediaRecordResult:
    """Delete the record of an older program by its key."""
    services, rkey = older.world.services, older.key.rkey
    return delete_media_record(services, MediaTypes.MOOD, older.user, rkey, dry_run=dry_run)


@dataclass(frozen=True)
class Moved:
    """A published item of a user whose account has another DID since."""

    author: Author
    item: ObjectId
    rkey: str
    is_known: bool

    def delete(self, *, dry_run: bool = False) -> MediaRecordResult:
        return self.author.delete(self.rkey, dry_run=dry_run)


@pytest.fixture(params=[True, False])
def moved(request: pytest.FixtureRequest, ada: Author) -> Moved:
    """Return an item in the repo of the old DID, whose account is known or not."""
    created = ada.published()
    users = ada.world.services.storage.database["users"]
    other = users.find_one_and_delete({"_id": ada.world.bob})
    former = users.find_one({"_id": ada.user})
    assert other
    assert former
    users.update_one({"_id": ada.user}, {"$set": {"atproto": other["atproto"]}})
    if request.param:
        users.insert_one({"_id": "auth0|former", "atproto": former["atproto"]})
    assert isinstance(created.id, ObjectId)
    return Moved(ada, created.id, str(created.rkey), request.param)


def test_the_record_of_a_visible_document_in_an_old_repo_is_not_deleted(moved: Moved) -> None:
    """Its next sync moves it."""
    for dry_run in (True, False):
        error = rejected(partial(moved.delete, dry_run=dry_run), moved.author)
        assert error.code == "document_not_hidden"


def test_the_record_of_a_hidden_document_in_an_old_repo_is_deleted(moved: Moved) -> None:
    """If the account of that repo is known; otherwise the record stays, and the item is skipped."""
    author = moved.author
    author.world.platform.edit("kidlisp", moved.item, nuked=True)
    dry, done = moved.delete(dry_run=True), moved.delete()
    left = author.world.records("kidlisp", moved.item)
    assert (dry.id, done.id, done.reason) == (moved.item, moved.item, "nuked")
    if moved.is_known:
        assert (dry.action, done.status, left) == (Action.REMOVE, Status.REMOVED, [])
    else:
        assert (dry.action, dry.reason) == (Action.SKIP, "nuked")
        assert (done.status, len(left)) == (Status.SKIPPED, 1)


def test_a_dry_run_changes_nothing_and_tells_what_a_call_would_do(author: Author) -> None:
    """Of a new document, a published one, a change, a hidden one and a deleted one."""
    world, item = author.world, author.save()

    def dry(call: Callable[..., MediaRecordResult], *arguments: Any) -> MediaRecordResult:
        before = author.snapshot()
        result = call(*arguments, dry_run=True)
        assert author.snapshot() == before
        return result

    new = dry(author.create, item)
    assert (new.action, new.status, new.uri, new.rkey) == (Action.PUBLISH, None, None, None)
    created = author.create(item)
    assert new.record == world.record("kidlisp", item)
    assert dry(author.create, item).action is Action.NOTHING
    world.platform.edit("kidlisp", item, source="(wipe red)")
    changed = dry(author.update, created.rkey, {"source": "(wipe red)"})
    assert changed.record
    assert (changed.action, changed.record["source"]) == (Action.PUBLISH, "(wipe red)")
    assert (changed.uri, changed.cid) == (created.uri, created.cid)
    world.platform.edit("kidlisp", item, nuked=True)
    hidden = dry(author.delete, created.rkey)
    assert (hidden.action, hidden.record, hidden.id) == (Action.REMOVE, None, item)
    world.platform.delete("kidlisp", item)
    assert dry(author.delete, created.rkey).action is Action.REMOVE
    author.delete(created.rkey)
    assert dry(author.delete, created.rkey).action is Action.NOTHING


def test_a_dry_run_tells_of_items_that_are_not_published(ada: Author) -> None:
    """A hidden one, one without an account, a guest's mood, and one that is not valid."""
    services, platform = ada.world.services, ada.world.platform
    nuked, alone = ada.save(), platform.save_kidlisp("(box)", "auth0|stranger")
    platform.edit("kidlisp", nuked, nuked=True)
    mood, long = platform.save_mood("calm", None), platform.save_mood("z" * 5001, ada.user)
    before = ada.snapshot()
    skipped = [ada.create(nuked, dry_run=True), ada.create(alone, dry_run=True)]
    skipped.append(create_media_record(services, MediaTypes.MOOD, mood, dry_run=True))
    invalid = create_media_record(services, MediaTypes.MOOD, long, dry_run=True)
    assert ada.snapshot() == before
    assert [(each.action, each.reason) for each in skipped] == [
        (Action.SKIP, reason) for reason in ("nuked", "no_account", "guests_not_published")
    ]
    assert (invalid.action, invalid.record) == (Action.NOTHING, None)
    assert invalid.error
    assert invalid.error.code == "lexicon_violation"


def test_a_dry_run_names_an_invalid_owner(ada: Author) -> None:
    """A user that is no text."""
    item = ada.save()
    ada.world.platform.edit("kidlisp", item, user=7)
    result = ada.create(item, dry_run=True)
    assert result.error
    assert (result.action, result.error.code) == (Action.NOTHING, "field_invalid")


def test_a_dry_run_does_not_read_files(author: Author) -> None:
    """Its record has the blobs that are saved already."""
    world, slug = author.world, f"image-{secrets.token_hex(4)}"
    world.platform.store(f"{slug}.png", pixel_art(), author.user)
    item = world.platform.save_painting(slug, author.user)
    before = author.snapshot()
    new = create_media_record(world.services, MediaTypes.PAINTING, item, dry_run=True)
    assert author.snapshot() == before
    assert (new.action, "thumbnail" in (new.record or {})) == (Action.PUBLISH, False)
    created = create_media_record(world.services, MediaTypes.PAINTING, item)
    assert created.status is Status.SYNCED
    done = create_media_record(world.services, MediaTypes.PAINTING, item, dry_run=True)
    assert (done.action, done.record) == (Action.NOTHING, world.record("painting", item))


def test_a_failed_sync_is_returned_with_the_saved_error(author: Author) -> None:
    """A document that is not valid, and a painting without its file."""
    world, services = author.world, author.world.services
    long = author.save("z" * 50_001)
    failed = author.create(long)
    assert (failed.status, failed.uri) == (Status.FAILED, None)
    assert failed.error
    assert failed.error.code == world.platform.state("kidlisp", long)["error"]["code"]  # type: ignore[index]
    painting = world.platform.save_painting("never-stored", author.user)
    incomplete = create_media_record(services, MediaTypes.PAINTING, painting)
    assert (incomplete.status, incomplete.uri is None) == (Status.PARTIAL, False)
    assert incomplete.error
    assert incomplete.error.step == "source"
    again = create_media_record(services, MediaTypes.PAINTING, painting, dry_run=True)
    assert (again.action, again.status) == (Action.PUBLISH, Status.PARTIAL)


def test_an_item_that_another_run_holds_is_left_to_it(ada: Author) -> None:
    """The result has no status, and says why."""
    item, store = ada.save(), ada.world.services.storage.store
    store.claim(media_type("kidlisp"), [item], holder=uuid4().hex, lease=100)
    result = ada.create(item)
    assert (result.status, result.error) == (None, None)
    assert result.reason == "another run is at work on it"


def test_an_unknown_type_is_rejected(ada: Author) -> None:
    """The error names the valid ones."""
    with pytest.raises(PermanentError, match="no media type is named 'tapes'"):
        create_media_record(ada.world.services, "tapes", ObjectId())
