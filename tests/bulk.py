"""Batches over a world: many items at once, what a batch sends, and what must be true after it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import cast
from uuid import uuid4

from bson import ObjectId

from tests.pictures import pixel_art
from tests.world import JsonRecord, World
from worker.core.documents import Account, DocumentId
from worker.core.records import RecordKey, Write
from worker.database.mongo import RawDocument
from worker.media import MEDIA_TYPES, MediaType, media_type
from worker.pds.repo import Repo
from worker.sync.batch.engine import BatchEngine, BatchRequest
from worker.sync.outcome import Outcome

KINDS = tuple(MEDIA_TYPES.values())
MOOD, PAINTING = media_type("mood"), media_type("painting")

_MOST_WRITES = 200  # that a PDS takes at once
TIMES = frozenset({"attemptedAt", "syncedAt", "publishedAt", "failingSince", "retryAt", "at"})


def sync_batch(
    world: World,
    type_name: str,
    items: Sequence[object],
    *,
    subject: str | None = None,
    batches: BatchEngine | None = None,
    holder: str | None = None,
    backfill: str | None = None,
    only_if_due: bool = False,
) -> list[Outcome]:
    """Sync items of one subject (ada, if none is named) together, as a new message would."""
    ids: list[DocumentId] = [item if isinstance(item, int) else str(item) for item in items]
    request = BatchRequest(
        kind=media_type(type_name),
        subject=subject or world.ada,
        ids=ids,
        holder=holder or uuid4().hex,
        backfill=backfill,
        only_if_due=only_if_due,
    )
    return (batches or world.services.sync.batches).sync(request)


def statuses(outcomes: Sequence[Outcome]) -> Counter[str]:
    """Count outcomes by status."""
    return Counter(str(outcome.status) for outcome in outcomes)


def error_of(world: World, type_name: str, item: object) -> tuple[str, str, str]:
    """Return an item's status, and the step and code of its error."""
    state = world.platform.state(type_name, cast("ObjectId", item))
    error = cast("RawDocument", state["error"])
    return str(state["status"]), str(error["step"]), str(error["code"])


def state_of(world: World, mood: ObjectId) -> RawDocument:
    """Return what a mood's `atproto` says."""
    return world.platform.state("mood", mood)


def new_user(world: World) -> str:
    """Sign a user up whom no other test knows; return the subject."""
    subject = f"auth0|{uuid4().hex}"
    world.dids[subject] = world.platform.sign_up(subject, f"u{uuid4().hex[:12]}")
    return subject


def account(world: World, subject: str) -> Account:
    """Return a subject's account."""
    found = world.services.storage.accounts.find(subject)
    assert found is not None
    return found


def set_password(world: World, subject: str, password: str) -> str:
    """Change the stored password of an account; return the previous one."""
    previous = account(world, subject).password.reveal()
    users = world.services.storage.database["users"]
    users.update_one({"_id": subject}, {"$set": {"atproto.password": password}})
    return previous


def repo(world: World, subject: str) -> Repo:
    """Return a subject's repo."""
    return world.services.pds.repo(account(world, subject))


def save_moods(world: World, count: int, subject: str | None = None) -> list[ObjectId]:
    """Save moods of a subject (ada, if none is named)."""
    user = subject or world.ada
    return [world.platform.save_mood(f"mood {number}", user) for number in range(count)]


def save_paintings(world: World, count: int, subject: str | None = None) -> list[ObjectId]:
    """Save paintings of a subject (ada, if none is named), each with an image of its own."""
    user = subject or world.ada
    return [save_painting(world, number + 8, user) for number in range(count)]


def save_painting(world: World, width: int, user: str | None) -> ObjectId:
    """Save a painting of a user (None: a guest), so many pixels wide."""
    slug = f"p{uuid4().hex[:10]}"
    # What follows the end of an image is no part of it, and makes it a file of its own.
    world.platform.store(f"{slug}.png", pixel_art((width, 8)) + slug.encode(), user)
    return world.platform.save_painting(slug, user)


def save_one_of(world: World, type_name: str, user: str | None) -> ObjectId:
    """Save an item of a type, with its file if it has one, of a user (None: a guest)."""
    if type_name == "painting":
        return save_painting(world, 9, user)
    if type_name == "piece":
        slug = f"s{uuid4().hex[:10]}"
        world.platform.store(f"{slug}.mjs", f"export const a = '{slug}'".encode(), user)
        return world.platform.save_piece(slug, user)
    if type_name == "kidlisp":
        return world.platform.save_kidlisp(f"(wipe {uuid4().hex})", user)
    return world.platform.save_mood(f"calm {uuid4().hex}", user)


def put_foreign(world: World, subject: str, type_name: str, rkey: str, **values: object) -> str:
    """Write a record as another program would; return its CID."""
    owned = repo(world, subject)
    key = owned.key(media_type(type_name).nsid, rkey)
    owned.apply([Write("create", key, {"$type": key.collection, **values})], owned.commit())
    found = owned.get(key)
    assert found is not None
    return found.cid


def start_over(world: World) -> None:
    """Let nothing have been saved and nothing published yet."""
    for kind in KINDS:
        world.services.storage.store.collection(kind).delete_many({})
    for subject in world.dids:
        owner = repo(world, subject)
        snapshot = owner.export()
        keys = [
            owner.key(nsid, rkey) for nsid in snapshot.counts for rkey in snapshot.records(nsid)
        ]
        for start in range(0, len(keys), _MOST_WRITES):
            deletes = [Write("delete", key) for key in keys[start : start + _MOST_WRITES]]
            owner.apply(deletes, owner.commit())


def set_state(world: World, kind: MediaType, item: object, **atproto: object) -> None:
    """Make a document's `atproto` say this."""
    world.services.storage.store.collection(kind).update_one(
        {"_id": item}, {"$set": {"atproto": atproto}}
    )


def end_leases(world: World, kind: MediaType) -> None:
    """Let the leases of dead runs be over, as time does."""
    documents = world.services.storage.store.collection(kind)
    documents.update_many(
        {"atproto.lease": {"$exists": True}},
        [{"$set": {"atproto.lease.until": {"$subtract": ["$$NOW", 1000]}}}],
    )


def timeless(state: RawDocument) -> RawDocument:
    """Return a state, or a part of one, with its times replaced by a word."""
    return {
        name: "some time"
        if name in TIMES
        else (timeless(value) if isinstance(value, dict) else value)
        for name, value in state.items()
    }


def records_by_ref(world: World, type_name: str) -> dict[str, list[tuple[str, JsonRecord]]]:
    """Return the records of a type in all repos of the world by what they name: URI and value."""
    found: dict[str, list[tuple[str, JsonRecord]]] = defaultdict(list)
    nsid = media_type(type_name).nsid
    for did in world.dids.values():
        snapshot = world.services.pds.client_of(did).get_repo(did)
        for rkey, record in snapshot.records(nsid).items():
            found[str(record.ref)].append((RecordKey(did, nsid, rkey).uri, dict(record.value)))
    return found


def assert_agreement(world: World, *subjects: str) -> None:
    """Assert that repos hold what the states of documents say, and nothing else.

    So nothing is lost, doubled or left behind: each record is claimed by the one document that it
    names, at the version that it has; what is gone claims none, and no run is on. All repos of
    the world are looked at, or those of the subjects named.
    """
    dids = {world.dids[subject] for subject in subjects} or set(world.dids.values())
    snapshots = [world.services.pds.client_of(did).get_repo(did) for did in dids]
    for kind in KINDS:
        there = {
            RecordKey(snapshot.did, kind.nsid, rkey).uri: (record.cid, record.ref)
            for snapshot in snapshots
            for rkey, record in snapshot.records(kind.nsid).items()
        }
        assert there == dict(_batch_store(world, kind, dids))


def _batch_store(
    world: World, kind: MediaType, dids: set[str]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Go through the records that documents claim in repos: URI, CID and `ref`."""
    for document in world.services.storage.store.collection(kind).find({}):
        state = document.get("atproto")
        if not isinstance(state, dict) or state.get("repo") not in dids:
            continue
        gone = kind.hidden_reason(document)
        is_up = state.get("status") in {"synced", "partial"}
        assert "lease" not in state, document
        assert not gone or "cid" not in state, document
        assert not is_up or "cid" in state, document
        if "cid" in state:
            yield str(state["uri"]), (str(state["cid"]), str(document["_id"]))
