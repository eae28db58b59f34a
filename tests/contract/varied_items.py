"""Items of every kind that a backfill meets, each with a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast
from uuid import uuid4

from bson import ObjectId

from tests.bulk import (
    new_user,
    save_moods,
    save_one_of,
    set_password,
    set_state,
)
from tests.contract.older_records import Older, write_older
from tests.pictures import pixel_art, truncated
from tests.world import World
from worker.core.clock import after
from worker.media import media_type

MAX_SOURCE_BYTES = 2 * 2**20  # of the world of these items
MOOD, PAINTING, PIECE = media_type("mood"), media_type("painting"), media_type("piece")


@dataclass(frozen=True)
class Item:
    """An item, by the name of what is special about it."""

    name: str
    type_name: str
    id: ObjectId


def save_varied(world: World) -> list[Item]:
    """Save the items, with their files, older records and states."""
    makers: list[Callable[[World], Iterator[Item]]] = [
        _texts,
        _pictures,
        _programs,
        _older_records,
        _known_states,
        _accounts,
        _moved,
    ]
    return [item for make in makers for item in make(world)]


def _mood(world: World, name: str, user: str | None = None, **changes: object) -> Item:
    (mood,) = save_moods(world, 1, user)
    if changes:
        world.platform.edit("mood", mood, **changes)
    return Item(name, "mood", mood)


def _texts(world: World) -> Iterator[Item]:
    yield _mood(world, "valid")
    yield _mood(world, "number as text", mood=5)
    yield _mood(world, "too long", mood="x" * 5001)
    yield _mood(world, "invalid time", when="yesterday")
    odd = _mood(world, "owner that is a number")
    world.platform.edit("mood", odd.id, user=7)
    yield odd
    yield _mood(world, "nuked", nuked=True)
    yield _mood(world, "no account", f"auth0|{uuid4().hex}")
    guests = _mood(world, "of a guest")
    world.platform.edit("mood", guests.id, user=None)
    yield guests
    world.platform.database["moods"].insert_one({"_id": 1.5, "mood": "odd", "user": world.ada})
    yield Item("id that no message can carry", "mood", cast("ObjectId", 1.5))
    yield Item("kidlisp of a guest", "kidlisp", save_one_of(world, "kidlisp", None))


def _painting(world: World, name: str, data: bytes | None, **changes: object) -> Item:
    slug = f"p{uuid4().hex[:10]}"
    if data is not None:
        world.platform.store(f"{slug}.png", data, world.ada)
    painting = world.platform.save_painting(slug, world.ada)
    if changes:
        world.platform.edit("painting", painting, **changes)
    return Item(name, "painting", painting)


def _pictures(world: World) -> Iterator[Item]:
    art = pixel_art()
    yield _painting(world, "image", art)
    yield _painting(world, "missing image", None)
    yield _painting(world, "broken image", truncated(art))
    yield _painting(world, "zip as an image", b"PK\x03\x04" + b"\0" * 60)
    yield _painting(world, "empty image", b"")
    yield _painting(world, "too large image", art + b"\0" * MAX_SOURCE_BYTES)
    yield _painting(world, "without a code", art, code=None)
    yield _painting(world, "hidden file name", art, slug=".hidden")
    yield _painting(world, "draft", art, draft=True)
    recorded = _painting(world, "with a recording", None)
    slug = str(world.platform.document("painting", recorded.id)["slug"])
    world.platform.store(f"{slug}.png", art + b"recorded", world.ada)
    world.platform.store(f"{slug}.zip", b"PK\x03\x04", world.ada)
    yield recorded


def _piece(world: World, name: str, data: bytes) -> Item:
    slug = f"s{uuid4().hex[:10]}"
    world.platform.store(f"{slug}.mjs", data, world.ada)
    return Item(name, "piece", world.platform.save_piece(slug, world.ada))


def _programs(world: World) -> Iterator[Item]:
    yield _piece(world, "program", b"export const a = 1")
    yield _piece(world, "image as a program", pixel_art())
    yield _piece(world, "zip as a program", b"PK\x03\x04" + b"\0" * 60)
    yield _piece(world, "empty program", b"")
    yield _piece(world, "too large program", b"x" * (2**20 + 1))
    text = save_one_of(world, "piece", world.ada)
    world.platform.edit("piece", text, source="export const b = 2", bucket=None)
    yield Item("program in the document", "piece", text)


def _older(world: World, type_name: str, *, mongo_id: bool = False) -> Older:
    item = save_one_of(world, type_name, world.ada)
    return write_older(world, world.ada, type_name, item, mongo_id=mongo_id)


def _older_records(world: World) -> Iterator[Item]:
    def named(name: str, older: Older) -> Item:
        return Item(name, older.type_name, older.item)

    for type_name in ("mood", "painting", "piece", "kidlisp"):
        yield named(f"older {type_name}", _older(world, type_name).legacy("rkey alone"))
    yield named("older record with mongoId", _older(world, "mood", mongo_id=True))
    yield named("older painting without a thumbnail", _older(world, "painting").put(thumbnail=None))
    edited = _older(world, "kidlisp").legacy("rkey and uri")
    world.platform.edit("kidlisp", edited.item, source="(wipe blue)")
    yield named("edited older record", edited)
    hidden = _older(world, "kidlisp").legacy("rkey alone")
    world.platform.edit("kidlisp", hidden.item, nuked=True)
    yield named("hidden older record", hidden)
    unknown = _older(world, "mood")
    world.platform.edit("mood", unknown.item, nuked=True)
    yield named("hidden item whose record nothing names", unknown)
    twice = _older(world, "mood")
    replace(twice, key=replace(twice.key, rkey="3zzzzzzzzzz2z")).put(mood="twin")
    yield named("two records", twice)
    other = _older(world, "mood")
    yield named("record that another item claims", other)
    claiming = _mood(world, "claims another's record")
    set_state(world, MOOD, claiming.id, rkey=other.key.rkey)
    yield claiming
    gone = _mood(world, "key without a record")
    set_state(world, MOOD, gone.id, rkey="3jzfcijpj2z2a")
    yield gone


def _known_states(world: World) -> Iterator[Item]:
    failed = _mood(world, "failed before", mood=5)
    world.sync("mood", failed.id)
    yield failed
    still = _painting(world, "still partial", None)
    world.sync("painting", still.id)
    yield still
    late = _painting(world, "file that has arrived", None)
    world.sync("painting", late.id)
    slug = str(world.platform.document("painting", late.id)["slug"])
    world.platform.store(f"{slug}.png", pixel_art((9, 9)), world.ada)
    yield late
    wiped = _mood(world, "wiped")
    set_state(world, MOOD, wiped.id, status="removed", reason="wiped", rkey="3jzfcijpj2z2b")
    yield wiped
    held = _mood(world, "held by its PDS")
    set_state(world, MOOD, held.id, status="pending", heldUntil=after(3600))
    yield held
    dead = _mood(world, "killed its workers")
    world.sync("mood", dead.id)
    moods = world.platform.database["moods"]
    moods.update_one({"_id": dead.id}, {"$set": {"atproto.lost": 3, "atproto.status": "pending"}})
    yield dead
    edited = _mood(world, "edited since")
    world.sync("mood", edited.id)
    world.platform.edit("mood", edited.id, mood="other")
    moods.update_one({"_id": edited.id}, {"$set": {"atproto.status": "pending"}})
    yield edited


def _accounts(world: World) -> Iterator[Item]:
    parked = new_user(world)
    password = set_password(world, parked, "wrong")
    assert password
    item = _mood(world, "account with a wrong password", parked)
    world.sync("mood", item.id)
    yield item
    lost = new_user(world)
    users = world.services.storage.database["users"]
    users.update_one({"_id": lost}, {"$set": {"atproto.did": f"did:plc:{ObjectId()}"}})
    yield _mood(world, "account that does not exist", lost)
    without = new_user(world)
    users.update_one({"_id": without}, {"$unset": {"atproto.password": 1}})
    yield _mood(world, "account without a password", without)
    for subject in (lost, without):
        del world.dids[subject]


def _moved(world: World) -> Iterator[Item]:
    item = _mood(world, "given to bob")
    world.sync("mood", item.id)
    moods = world.platform.database["moods"]
    moods.update_one({"_id": item.id}, {"$set": {"user": world.bob, "atproto.status": "pending"}})
    yield item
