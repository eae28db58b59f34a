"""Accounts with records to wipe, and what must be true of them before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

from bson import ObjectId

from tests.bulk import KINDS, account, repo, save_moods, sync_batch
from tests.pictures import pixel_art
from tests.world import World
from worker.core.documents import ItemRef
from worker.core.records import RecordKey, Write
from worker.database.mongo import RawDocument
from worker.database.state_updates import StateUpdates
from worker.dev.stack import Stack
from worker.operations.erase.forget import AccountErasure
from worker.operations.erase.state_reset import StateReset
from worker.operations.erase.wipe import Wiper, WipeRun
from worker.pds.account_cache import AccountCache
from worker.pds.record_deleter import RecordDeleter
from worker.pds.repo import Repo
from worker.queue.names import FRONT, OVERFLOW
from worker.services import Services

WIPED = {"status": "removed", "reason": "wiped", "attempts": 0}


class Interrupted(RecordDeleter):
    """The eraser, with something else happening before it removes a batch, or right after."""

    def __init__(
        self,
        services: Services,
        *,
        before: Callable[[], object] | None = None,
        after: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(services.pds.locks)
        self._before = before
        self._after = after

    def delete(self, repo: Repo, keys: Sequence[RecordKey]) -> Iterator[Sequence[RecordKey]]:
        """Remove the records as ever."""
        if self._before:
            self._before()
        for gone in super().delete(repo, keys):
            if self._after:
                self._after()
            yield gone


def wiper(services: Services, record_deleter: RecordDeleter | None = None) -> Wiper:
    """Return what wipes with these services."""
    return Wiper(
        state_reset=StateReset(services.storage.store),
        state_updates=StateUpdates(services.storage.store),
        record_deleter=record_deleter or RecordDeleter(services.pds.locks),
        open_repo=services.pds.repo,
        read_repo=lambda did: services.pds.client_of(did).get_repo(did),
    )


def forgetter(services: Services) -> AccountErasure:
    """Return what forgets with these services."""
    return AccountErasure(
        wiper=wiper(services),
        accounts=services.storage.accounts,
        keys=AccountCache(services.storage.redis),
        thumbnails=services.media.thumbnails,
        database=services.storage.database,
    )


def prepared(
    world: World, subject: str, *types: str, record_deleter: RecordDeleter | None = None
) -> WipeRun:
    """Return the wipe of an account, of all types unless some are named, before its start."""
    kinds = [kind for kind in KINDS if not types or kind.name in types]
    return wiper(world.services, record_deleter).prepare(account(world, subject), kinds)


def wipe(
    world: World, subject: str, *types: str, record_deleter: RecordDeleter | None = None
) -> WipeRun:
    """Wipe an account to the end, and return the wipe."""
    wiping = prepared(world, subject, *types, record_deleter=record_deleter)
    removed = sum(wiping.run())
    assert removed == sum(each.removed for each in wiping.done.values())
    return wiping


def told(wiping: WipeRun, type_name: str) -> tuple[int, int, int]:
    """Return how many records of a type were removed, states cleared, items left."""
    done = wiping.done[type_name]
    return done.removed, done.reset, len(done.skipped)


def published(world: World, subject: str | None) -> dict[str, ObjectId]:
    """Save and sync an item of each type that a subject (None: a guest) can have."""
    slug = f"s{uuid4().hex[:6]}"
    world.platform.store(f"{slug}.png", pixel_art(), subject)
    world.platform.store(f"{slug}.mjs", b"export function paint() {}", subject)
    items = {
        "painting": world.platform.save_painting(slug, subject),
        "piece": world.platform.save_piece(slug, subject),
        "kidlisp": world.platform.save_kidlisp("(wipe blue)", subject),
    }
    if subject:
        items["mood"] = world.platform.save_mood("calm", subject)
    for name, item in items.items():
        assert world.sync(name, item).status == "synced"
    return items


def published_moods(world: World, subject: str, count: int) -> list[ObjectId]:
    """Save and sync many moods."""
    moods = save_moods(world, count, subject)
    for start in range(0, count, 100):
        outcomes = sync_batch(world, "mood", moods[start : start + 100], subject=subject)
        assert {outcome.status for outcome in outcomes} == {"synced"}
    return moods


def put_strange(repo: Repo, collection: str, rkey: str = "", **values: object) -> RecordKey:
    """Write a record as another program would."""
    key = repo.key(collection, rkey or uuid4().hex)
    repo.apply([Write("create", key, {"$type": collection, **values})], repo.commit())
    return key


def records(world: World, subject: str, collection: str) -> dict[str, str]:
    """Return the CIDs in a collection of a subject's repo, by rkey, read from the PDS."""
    listed = repo(world, subject).records(collection)
    return {record.rkey: record.cid for record in listed}


def all_records(world: World, subject: str) -> dict[str, dict[str, str]]:
    """Return the records of our collections in a subject's repo, by type."""
    return {kind.name: records(world, subject, kind.nsid) for kind in KINDS}


def swept(world: World) -> list[ItemRef]:
    """Return what a sweep enqueues."""
    found: list[ItemRef] = []
    queued = {FRONT: 0, OVERFLOW: 0}
    world.services.sync.sweep.run(queued, lambda ref, _priority: found.append(ref), lambda *_: None)
    return found


def settle(world: World) -> None:
    """Sweep, and sync what that enqueues, until there is nothing more to do."""
    while found := swept(world):
        for ref in found:
            world.services.sync.engine.sync(ref.type, ref.id, holder=uuid4().hex)


def essence(state: RawDocument) -> RawDocument:
    """Return a state without the time of its last change."""
    return {name: value for name, value in state.items() if name != "attemptedAt"}


def assert_true_states(world: World, subject: str) -> None:
    """Assert that every state of a subject's documents says what its repo holds, no more."""
    for kind in KINDS:
        there = records(world, subject, kind.nsid)
        for document in world.services.storage.database[kind.collection].find({"user": subject}):
            state = document.get("atproto", {})
            assert isinstance(state, dict)
            claims = state.get("uri") is not None or state.get("status") in {
                "synced",
                "partial",
            }
            assert claims == (state.get("rkey") in there), (kind.name, state)
            if claims:
                assert state["cid"] == there[str(state["rkey"])]


@contextmanager
def pds_away(stack: Stack) -> Iterator[None]:
    """Kill the PDS for as long as the block runs."""
    stack.pds.kill()
    try:
        yield
    finally:
        stack.pds.start()
