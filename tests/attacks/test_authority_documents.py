"""A document's `atproto` field leads to no write to a record that does not name the document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from bson import ObjectId

from tests.bulk import (
    account,
    put_foreign,
    records_by_ref,
    repo,
    set_state,
    sync_batch,
)
from tests.contract.older_records import Older, write_older
from tests.world import World
from worker.core.clock import now
from worker.core.records import RecordKey, Write
from worker.database.mongo import RawDocument
from worker.media import media_type
from worker.operations.audit.run import open_audit

KIDLISP = media_type("kidlisp")
GUEST = "art-guest"
FAR = datetime(2100, 1, 1, tzinfo=UTC)
Sync = Callable[[World, object, str], object]
SYNCS: dict[str, Sync] = {
    "alone": lambda world, item, _user: world.sync("kidlisp", item),  # type: ignore[arg-type]
    "in a backfill": lambda world, item, user: sync_batch(
        world, "kidlisp", [item], subject=user, backfill=str(ObjectId())
    ),
}


@pytest.fixture
def world(module_world: World) -> World:
    """A world of the module's own."""
    return module_world


@pytest.fixture(params=list(SYNCS.values()), ids=list(SYNCS))
def sync(request: pytest.FixtureRequest) -> Sync:
    """A way to sync a program of a user."""
    return request.param  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Victim:
    """A document with a record of an older program, as both are before the attack."""

    older: Older
    cid: str

    def assert_unharmed(self) -> None:
        """Assert that the record is as it was, and that its document still becomes its owner."""
        world = self.older.world
        found = repo(world, self.older.user).get(self.older.key)
        assert found
        assert found.cid == self.cid
        assert self.older.sync() == "synced"
        (record,) = records_by_ref(world, "kidlisp")[str(self.older.item)]
        assert record[0] == self.older.key.uri


def save(world: World, user: str) -> ObjectId:
    """Save a program of a user (or guest)."""
    return world.platform.save_kidlisp(f"(wipe {ObjectId()})", None if user == GUEST else user)


def publish(world: World) -> ObjectId:
    """Save and sync a program of ada's."""
    item = save(world, world.ada)
    world.sync("kidlisp", item)
    return item


def victim_of(world: World, user: str, state: str | None = "rkey alone") -> Victim:
    """Return a document of a user (or guest) that no run has synced yet, with its record."""
    item = save(world, user)
    older = write_older(world, user, "kidlisp", item)
    if state:
        older.legacy(state)
    found = repo(world, user).get(older.key)
    assert found
    return Victim(older, found.cid)


def attack(world: World, user: str, atproto: RawDocument, *, hidden: bool = False) -> ObjectId:
    """Save a document of a user (or guest) with a state that the client sent."""
    item = save(world, user)
    if hidden:
        world.platform.edit("kidlisp", item, nuked=True)
    set_state(world, KIDLISP, item, **atproto)
    return item


def claim_of(victim: Victim, form: str) -> RawDocument:
    """Return a state that claims the victim's record."""
    key = victim.older.key
    forms: dict[str, RawDocument] = {
        "rkey": {"rkey": key.rkey},
        "rkey and cid": {"rkey": key.rkey, "cid": victim.cid},
        "pair": {"rkey": key.rkey, "repo": key.repo},
        "all": {"rkey": key.rkey, "repo": key.repo, "uri": key.uri, "cid": victim.cid}
        | {"status": "synced", "syncedAt": now()},
    }
    return forms[form]


def test_a_stray_of_another_account_is_kept(world: World, sync: Sync) -> None:
    """The record does not name the document; the document is published."""
    theirs = publish(world)
    uri = str(world.platform.state("kidlisp", theirs)["uri"])
    item = attack(world, world.bob, {"strays": [uri]})
    sync(world, item, world.bob)
    assert world.record("kidlisp", theirs)
    state = world.platform.state("kidlisp", item)
    assert (state["status"], state["strays"]) == ("synced", [])


def test_a_stray_in_another_collection_is_kept(world: World, sync: Sync) -> None:
    """Even if the record names the document."""
    item, own = attack(world, world.bob, {}), repo(world, world.bob)
    key = RecordKey(own.did, "com.example.note", f"note-{item}")
    value = {"$type": key.collection, "ref": str(item)}
    own.apply([Write("create", key, value)], own.commit())
    set_state(world, KIDLISP, item, strays=[key.uri])
    sync(world, item, world.bob)
    assert own.get(key)
    assert world.platform.state("kidlisp", item)["status"] == "synced"


def test_a_stray_that_no_run_saved_is_ignored(world: World) -> None:
    """Neither an invalid key nor a thousand of them reach the PDS."""
    did = world.dids[world.ada]
    strays = [f"at://{did}/{KIDLISP.nsid}/{n}" for n in ("é", "..", "a b", "x" * 600)]
    item = attack(world, world.bob, {"strays": strays * 100})
    assert world.sync("kidlisp", item).status == "synced"


@pytest.mark.parametrize("form", ["pair", "all"])
def test_a_hidden_document_deletes_no_record_of_another_account(
    world: World, sync: Sync, form: str
) -> None:
    """A state names that account's repo."""
    victim = victim_of(world, world.ada)
    item = attack(world, world.bob, claim_of(victim, form), hidden=True)
    sync(world, item, world.bob)
    victim.assert_unharmed()
    assert "rkey" not in world.platform.state("kidlisp", item)


@pytest.mark.parametrize("form", ["pair", "all"])
def test_a_visible_document_moves_no_record_of_another_account(
    world: World, sync: Sync, form: str
) -> None:
    """It is published in its owner's repo."""
    victim = victim_of(world, world.ada)
    item = attack(world, world.bob, claim_of(victim, form))
    sync(world, item, world.bob)
    victim.assert_unharmed()
    (record,) = records_by_ref(world, "kidlisp")[str(item)]
    assert record[0].startswith(f"at://{world.dids[world.bob]}/")


def test_a_repo_without_a_key_does_not_stop_its_account(world: World) -> None:
    """A call with an empty key would look like an account that cannot be used."""
    item = attack(world, world.bob, {"repo": world.dids[world.ada]})
    assert world.sync("kidlisp", item).status == "synced"
    assert world.platform.state("kidlisp", publish(world))["status"] == "synced"


@pytest.mark.parametrize("form", ["rkey", "rkey and cid", "all"])
@pytest.mark.parametrize("is_hidden", [True, False], ids=["hidden", "visible"])
@pytest.mark.parametrize("user", [GUEST, "ada"])
def test_a_document_changes_no_record_of_another_one_of_its_account(
    world: World, sync: Sync, user: str, form: str, *, is_hidden: bool
) -> None:
    """Guests share an account. The document is published at another key."""
    owner = world.ada if user == "ada" else GUEST
    victim = victim_of(world, owner)
    item = attack(world, owner, claim_of(victim, form), hidden=is_hidden)
    sync(world, item, owner)
    victim.assert_unharmed()
    found = records_by_ref(world, "kidlisp").get(str(item), [])
    assert len(found) == (0 if is_hidden else 1)


@pytest.mark.parametrize("is_hidden", [True, False], ids=["hidden", "visible"])
def test_a_guest_takes_no_record_that_names_no_document(
    world: World, sync: Sync, *, is_hidden: bool
) -> None:
    """Of an older program; which guest's it is, cannot be known."""
    rkey = f"3{ObjectId()}"
    cid = put_foreign(world, GUEST, "kidlisp", rkey, source="(old)")
    item = attack(world, GUEST, {"rkey": rkey, "cid": cid}, hidden=is_hidden)
    sync(world, item, GUEST)
    key = repo(world, GUEST).key(KIDLISP.nsid, rkey)
    found = repo(world, GUEST).get(key)
    repo(world, GUEST).delete(key)
    assert found
    assert found.cid == cid


def test_an_audit_repairs_by_what_records_name(world: World) -> None:
    """A hidden document's claim does not make another's record an orphan."""
    victim = victim_of(world, GUEST, state=None)
    item = ObjectId()
    programs = world.services.storage.store.collection(KIDLISP)
    hidden = {"_id": item, "source": "(wipe)", "when": now(), "nuked": True}
    programs.insert_one({**hidden, "atproto": claim_of(victim, "all")})
    with open_audit(world.services, [KIDLISP], repair=True) as audit:
        audit.of_account(account(world, GUEST))
    programs.delete_one({"_id": item})
    assert records_by_ref(world, "kidlisp")[str(victim.older.item)]


@pytest.mark.parametrize(
    "planted",
    [
        {"lease": {"token": "t", "holder": "h", "until": FAR}},
        {"heldUntil": FAR, "retryAt": FAR},
    ],
    ids=", ".join,
)
def test_a_moderator_removes_a_record_whatever_the_state_says(
    world: World, planted: RawDocument
) -> None:
    """Its own document does not keep it."""
    item = publish(world)
    planted = {f"atproto.{name}": value for name, value in planted.items()}
    world.platform.edit("kidlisp", item, **planted)
    world.platform.edit("kidlisp", item, nuked=True)
    assert world.sync("kidlisp", item).status == "removed"
    assert world.records("kidlisp", item) == []


def test_strays_of_another_type_take_new_ones(world: World) -> None:
    """A run that was overtaken, a wipe and an audit save some there."""
    item, store = publish(world), world.services.storage.store
    uri = str(world.platform.state("kidlisp", item)["uri"])
    document = store.find(KIDLISP, [item])
    assert document
    for planted in ("no list", 5, {"a": 1}, None, ["$x", 7]):
        world.platform.edit("kidlisp", item, **{"atproto.strays": planted})
        store.add_stray_write(KIDLISP, document, uri)
        saved = world.platform.state("kidlisp", item)["strays"]
        assert isinstance(saved, list)
        assert uri in saved
    assert world.sync("kidlisp", item).status == "synced"


@pytest.mark.parametrize(("victim", "twin"), [(7, "7"), ("a" * 24, ObjectId("a" * 24))])
@pytest.mark.parametrize("form", ["hidden", "stray", "shown", "message"])
def test_an_id_with_the_same_text_takes_no_record_of_another_account(
    world: World, sync: Sync, victim: object, twin: object, form: str
) -> None:
    """The record may name either document."""
    programs = world.services.storage.database["kidlisp"]
    document = programs.find_one({"_id": save(world, world.ada)})
    assert document
    programs.delete_many({"_id": {"$in": [victim, twin]}})
    programs.insert_one(document | {"_id": victim})
    world.sync("kidlisp", victim)  # type: ignore[arg-type]
    state = world.platform.state("kidlisp", victim)  # type: ignore[arg-type]
    key = RecordKey.parse(str(state["uri"]))
    before = repo(world, world.ada).get(key)
    claim = {"repo": key.repo, "rkey": key.rkey, "uri": key.uri, "cid": state["cid"]}
    claim |= {"status": "synced"}
    programs.update_one({"_id": victim}, {"$unset": {"atproto": ""}})  # the index of keys
    changes: RawDocument = {"user": world.bob, "code": f"(wipe {ObjectId()})"}
    changes |= {"nuked": True} if form == "hidden" else {}
    changes |= {"atproto": {"strays": [key.uri]} if form == "stray" else claim}
    programs.insert_one(document | {"_id": twin} | changes)
    if form == "message":
        world.services.sync.engine.delete_record("kidlisp", world.ada, key.rkey, holder="evil")
    else:
        sync(world, twin, world.bob)
    assert repo(world, world.ada).get(key) == before


def test_an_id_with_the_same_text_hides_no_existing_record(world: World) -> None:
    """Without it, the owner's document would get a second record."""
    own = repo(world, world.ada)
    key = RecordKey(own.did, KIDLISP.nsid, "of-an-older-program")
    own.apply([Write("create", key, {"$type": key.collection, "ref": "8"})], own.commit())
    programs = world.services.storage.database["kidlisp"]
    document = programs.find_one({"_id": save(world, world.ada)})
    assert document
    programs.insert_one(document | {"_id": 8})
    other = {"_id": "8", "user": world.bob, "code": f"(wipe {ObjectId()})"}
    programs.insert_one(document | other)
    sync_batch(world, "kidlisp", [8], subject=world.ada, backfill=str(ObjectId()))
    assert world.platform.state("kidlisp", 8)["uri"] == key.uri  # type: ignore[arg-type]
