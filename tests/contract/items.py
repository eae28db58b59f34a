"""Items in every state, and a sweep over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from bson import ObjectId

from worker.core.clock import now
from worker.core.documents import DocumentId, ItemRef, MediaDocument, Status, SyncState
from worker.database.leases import new_lease
from worker.database.mongo import RawDocument
from worker.database.removals import Removal
from worker.database.store import Finish
from worker.media import MediaType, media_type
from worker.queue.names import FRONT, OVERFLOW
from worker.services import Services

MOOD = media_type("mood")
PAINTING = media_type("painting")
SECOND = timedelta(seconds=1)


def save(
    here: Services,
    kind: MediaType = MOOD,
    *,
    item: DocumentId | None = None,
    when: datetime | None = None,
    user: str | None = "auth0|ada",
    atproto: RawDocument | None = None,
) -> ItemRef:
    """Save a document as an upload does, with or without a state; return what it is."""
    document: RawDocument = {"_id": item or ObjectId(), "mood": "calm", "slug": "s"}
    document["when"] = when or now() - SECOND
    document |= {} if user is None else {"user": user}
    document |= {} if atproto is None else {"atproto": atproto}
    here.storage.store.collection(kind).insert_one(document)
    return ItemRef(kind.name, document["_id"])  # type: ignore[arg-type]


def settle(here: Services, ref: ItemRef, **changes: object) -> None:
    """Have a run end well on an item, or otherwise where `changes` of the state say so."""
    kind = media_type(ref.type)
    claimed = here.storage.store.claim(kind, [ref.id], holder="message", lease=100)
    assert isinstance(claimed, MediaDocument)
    well = claimed.state._replace(status=Status.SYNCED, error=None, retry_at=None)
    state: SyncState = well._replace(**changes)  # type: ignore[arg-type]
    assert here.storage.store.finish(kind, claimed, state) is Finish.SETTLED


def edit(here: Services, ref: ItemRef, **fields: object) -> None:
    """Change a document, its message lost."""
    here.storage.store.collection(media_type(ref.type)).update_one(
        {"_id": ref.id}, {"$set": fields}
    )


def settle_and_edit(here: Services, refs: Iterable[ItemRef]) -> None:
    """Have a run end well on each item, then edit each, its message lost."""
    for ref in refs:
        settle(here, ref)
        edit(here, ref, mood="edited")


def state_of(here: Services, ref: ItemRef) -> object:
    """Return a document's `atproto` as it is."""
    found = here.storage.store.collection(media_type(ref.type)).find_one({"_id": ref.id})
    return found and found.get("atproto")


def claim_in_batch(
    here: Services, ref: ItemRef, *, lease: float = 100, rkey: str | None = None
) -> MediaDocument:
    """Claim an item as a batch does; with `rkey`, for a repo of an account that is gone."""
    batch_store = here.sync.batches.batch_store
    (loaded,) = batch_store.read(MOOD, [ref.id])
    assert loaded is not None
    (claimed,) = batch_store.claim(
        MOOD, "did:plc:gone", [(loaded, rkey)], new_lease("batch", lease)
    )
    return claimed


def sweep(here: Services, queued: int = 0, **settings: float) -> list[ItemRef]:
    """Sweep once; return the items that were enqueued, in their order."""
    items: list[ItemRef] = []
    changed = replace(here.settings.sweep, **settings)  # type: ignore[arg-type]
    count = replace(here.sync.sweep, settings=changed).run(
        {FRONT: queued, OVERFLOW: 0}, lambda ref, _priority: items.append(ref), refuse
    )
    assert count == len(items)
    return items


def refuse(removal: Removal, _priority: int) -> None:
    """Fail: no removal was expected."""
    raise AssertionError(removal)


def give_account(here: Services, subject: str) -> None:
    """Give a user an account, as far as MongoDB knows."""
    account = {"did": "did:plc:new", "handle": "new.test", "password": "x"}
    here.storage.database["users"].insert_one({"_id": subject, "atproto": account})
