"""A dry run of a backfill agrees with the backfill, item by item, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import pytest
from redis import Redis

from tests.backfills import dry_run, run_backfill
from tests.bulk import (
    KINDS,
    MOOD,
    account,
    repo,
    save_moods,
    save_paintings,
    set_state,
    start_over,
    sync_batch,
)
from tests.contract.varied_items import MAX_SOURCE_BYTES, Item, save_varied
from tests.environments import SHORT_RETRIES
from tests.world import World, Worlds
from worker.core.records import RecordKey
from worker.operations.backfill.missing_records import mark_missing
from worker.operations.backfill.planner import Scope
from worker.operations.backfill.rehearsal_result import UNREAD, ReasonKey, Rehearsal
from worker.operations.backfill.rehearsed_item import Effect

SYNCED = {Effect.NEW, Effect.CHANGED, Effect.UNCHANGED}
_ALL = 10_000  # samples
# Entries of limits, which each read of a PDS changes.
_LIMITS = b"media-atproto:budget:"


@pytest.fixture(scope="module")
def varied(worlds: Worlds) -> Iterator[World]:
    """A world with a Redis database of its own."""
    settings = {"MAX_SOURCE_BYTES": str(MAX_SOURCE_BYTES), **SHORT_RETRIES}
    with worlds.open_with_redis(**settings) as world:
        yield world


def harmless_dry_run(world: World, scope: Scope, *, reads_files: bool = True) -> Rehearsal:
    """Rehearse a backfill, with a sample of each item; assert that it changes nothing."""
    before = everything(world)
    done = dry_run(world.services, scope, samples=_ALL, reads_files=reads_files)
    assert everything(world) == before
    return done


def everything(world: World) -> list[object]:
    """Return all documents of MongoDB, all entries of Redis but limits, and all revisions."""
    database = world.services.storage.database
    names = sorted(database.list_collection_names())
    documents = [(name, list(database[name].find().sort("_id"))) for name in names]
    with Redis.from_url(world.environ["REDIS_URL"]) as redis:
        keys = sorted(key for key in redis.scan_iter() if not key.startswith(_LIMITS))
        entries = [(key, redis.dump(key)) for key in keys]
    return [documents, entries, [world.revision(did) for did in world.dids.values()]]


def record_at(world: World, uri: str) -> Mapping[str, object] | None:
    """Return the record at a URI."""
    key = RecordKey.parse(uri)
    owner = next(subject for subject, did in world.dids.items() if did == key.repo)
    found = repo(world, owner).get(key)
    return found.value if found else None


def differences(world: World, item: Item, done: Rehearsal) -> Iterator[str]:
    """Yield how a dry run differs from the backfill for an item."""
    state = world.platform.state(item.type_name, item.id)
    sample = next((each for each in done.samples if each.id == item.id), None)
    counted = [
        (key.effect, key.code) for key, (id_, _) in done.examples.items() if id_ == str(item.id)
    ]
    if sample is None and counted:  # its repo or its id cannot be read
        error = cast("Mapping[str, str]", state.get("error") or {})
        if [(state.get("status"), error.get("code"))] != counted:
            yield f"{item.name}: {counted}, but {state}"
        return
    if sample is None:
        if state.get("status") not in {None, "skipped", "removed"}:
            yield f"{item.name}: left out, but {state}"
        return
    expected = "synced" if sample.effect in SYNCED else str(sample.effect)
    if state.get("status") != expected:
        yield f"{item.name}: {sample.effect} {sample.reasons}, but {state}"
    if expected in {"synced", "partial"} and sample.uri != state.get("uri"):
        yield f"{item.name}: {sample.uri}, but {state.get('uri')}"
    if expected in {"synced", "partial"} and sample.record != record_at(world, str(sample.uri)):
        yield f"{item.name}: {sample.record}, but {record_at(world, str(sample.uri))}"
    error = cast("Mapping[str, str]", state.get("error") or {})
    codes = {reason.code for reason in sample.reasons}
    if error and error["code"] not in codes and codes != {"held"}:
        yield f"{item.name}: {codes}, but {error}"


def assert_effects(done: Rehearsal, before: Mapping[str, object]) -> None:
    """Assert that the effects fit to the records that existed before."""
    for sample in done.samples:
        if sample.effect in SYNCED:
            found = before[str(sample.uri)]
            assert (found is None) == (sample.effect is Effect.NEW), sample
            assert (found == sample.record) == (sample.effect is Effect.UNCHANGED), sample


def published(world: World, done: Rehearsal) -> dict[str, object]:
    """Return the existing records of the items that would be synced."""
    uris = [str(sample.uri) for sample in done.samples if sample.effect in SYNCED]
    return {uri: record_at(world, uri) for uri in uris}


def test_a_dry_run_agrees_with_the_backfill(varied: World) -> None:
    """The result, the key and the record of each item are those of the backfill that follows.

    A quick one finds all but the files that exist, and are broken.
    """
    items, scope = save_varied(varied), Scope(KINDS, failed=True)
    done = harmless_dry_run(varied, scope)
    quick = harmless_dry_run(varied, scope, reads_files=False)
    before = published(varied, done)
    run_backfill(varied, failed=True)
    wrong = [text for item in items for text in differences(varied, item, done)]
    assert not wrong, "\n".join(wrong)
    assert_effects(done, before)
    assert {effect for _, effect in done.effects} == set(Effect)
    names: dict[object, str] = {item.id: item.name for item in items}
    effects = {sample.id: sample.effect for sample in done.samples}
    missed = {names[each.id] for each in quick.samples if effects[each.id] is not each.effect}
    assert missed == {"broken image", "zip as an image"}
    records = {names[each.id]: each.record or {} for each in quick.samples}
    assert records["image"]["thumbnail"] == records["program"]["source"] == UNREAD


def test_a_dry_run_of_a_restore_agrees_with_the_restore(varied: World) -> None:
    """Of records that were wiped, that are gone, and that are still there; of invalid ids."""
    start_over(varied)
    names = ["wiped", "gone", "there", "partial", "hidden"]
    moods = dict(zip(names, save_moods(varied, 5), strict=True))
    (painting,) = save_paintings(varied, 1)
    sync_batch(varied, "mood", list(moods.values()))
    sync_batch(varied, "painting", [painting])
    owner = repo(varied, varied.ada)
    states = varied.platform.states("mood")
    gone = [varied.platform.state("painting", painting)["uri"]]
    gone += [states[moods[name]]["uri"] for name in ("wiped", "gone", "partial", "hidden")]
    for uri in gone:
        owner.delete(RecordKey.parse(str(uri)))
    for name in ("wiped", "hidden"):
        rkey = states[moods[name]]["rkey"]
        set_state(varied, MOOD, moods[name], status="removed", reason="wiped", rkey=rkey)
    varied.platform.edit("mood", moods["hidden"], nuked=True)
    varied.platform.database["moods"].update_one(
        {"_id": moods["partial"]}, {"$set": {"atproto.status": "partial"}}
    )
    varied.platform.database["moods"].insert_many(
        {"_id": number, "mood": "odd", "user": varied.ada, "atproto": {"status": status}}
        for number, status in ((1.5, "synced"), (2.5, "partial"))
    )
    scope = Scope(KINDS, [varied.ada], failed=True, removed=True)
    done = harmless_dry_run(varied, scope)
    assert done.effects == {
        ("mood", Effect.NEW): 3,
        ("mood", Effect.FAILED): 2,
        ("painting", Effect.NEW): 1,
    }
    assert done.reasons == {ReasonKey("mood", Effect.FAILED, "_id", "field_invalid"): 2}
    assert done.missing == {varied.ada: 3}
    before = published(varied, done)
    mark_missing(varied.services, account(varied, varied.ada), KINDS)
    run_backfill(varied, owners=[varied.ada], failed=True, removed=True)
    items = [Item(name, "mood", mood) for name, mood in moods.items() if name != "there"]
    items.append(Item("painting", "painting", painting))
    failed = {"_id": {"$in": [1.5, 2.5]}, "atproto.status": "failed"}
    assert varied.platform.database["moods"].count_documents(failed) == 2
    assert not [text for item in items for text in differences(varied, item, done)]
    assert_effects(done, before)
