"""Removals of records whose documents are gone: none is lost, whatever ends a run or a batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from bson import ObjectId
from celery.exceptions import SoftTimeLimitExceeded

from tasks import removal_note
from tests.bulk import MOOD, error_of, records_by_ref, save_moods, statuses, sync_batch
from tests.terminal import call
from tests.watching import Watch
from tests.world import World
from worker.core.documents import Account
from worker.database.mongo import RawDocument
from worker.pds.repo import Repo
from worker.sync.batch.engine import BatchEngine
from worker.sync.engine import Engine
from worker.sync.removal import Remover


@pytest.fixture
def world(new_world: World) -> World:
    """Return the module's world, emptied; ada is logged in."""
    return new_world


@pytest.fixture
def watch(world: World) -> Watch:
    """Watch the batches of that world."""
    return Watch(world.services)


def removals_of(world: World) -> list[RawDocument]:
    """Return the saved removals, by id."""
    return list(world.services.storage.database["atproto_removals"].find().sort("_id"))


def engine_with(world: World, **changes: object) -> Engine:
    """Return the engine with changes to its remover."""
    engine = world.services.sync.engine
    remover: Remover = replace(engine.remover, **changes)  # type: ignore[arg-type]
    return replace(engine, remover=remover)


def raising(error: BaseException) -> Callable[[Account], Repo]:
    """Return what raises when it is to open a repo."""

    def open_repo(_: Account) -> Repo:
        raise error

    return open_repo


def delete(world: World, moods: list[ObjectId]) -> list[RawDocument]:
    """Delete moods; return their documents."""
    collection = world.services.storage.store.collection(MOOD)
    found = list(collection.find({"_id": {"$in": moods}}))
    collection.delete_many({"_id": {"$in": moods}})
    return found


def bury(world: World) -> ObjectId:
    """Delete a mood whose record is on the second page, at a key that no id leads to."""
    mood = world.platform.save_mood("far below", world.ada)
    world.platform.edit("mood", mood, atproto={"rkey": "2222222222222"})
    world.sync("mood", mood)
    delete(world, [mood])
    sync_batch(world, "mood", save_moods(world, 100))
    return mood


def test_a_document_deleted_during_its_run_is_removed_by_the_key_of_its_state(
    world: World,
) -> None:
    """No page of the collection is read."""
    mood = world.platform.save_mood("short-lived", world.ada)
    world.platform.edit("mood", mood, atproto={"rkey": "own-key"})

    def delete_when_written(step: str) -> None:
        if step.startswith("written"):
            world.platform.delete("mood", mood)

    engine = engine_with(world, pages=0)
    outcome = world.sync("mood", mood, engine=engine, observer=delete_when_written)
    assert outcome.status == "removed"
    assert world.records("mood", mood) == []
    assert removals_of(world) == []


def test_documents_deleted_during_their_batch_are_removed_by_their_keys(
    world: World, watch: Watch
) -> None:
    """The removals of all are saved before the first, which takes all the time there is."""
    moods = save_moods(world, 3)
    watch.at(("after", "apply"), lambda: delete(world, moods))
    batches = watch.batches
    engine = replace(
        batches.engine, remover=engine_with(world, open_repo=raising(Interrupted())).remover
    )
    with pytest.raises(Interrupted):
        sync_batch(world, "mood", moods, batches=replace(batches, engine=engine))
    assert len(records_by_ref(world, "mood")) == 3
    assert [note["id"] for note in removals_of(world)] == [str(mood) for mood in moods]
    no_search = engine_with(world, pages=0)
    for mood in moods:
        assert world.sync("mood", mood, engine=no_search, user=world.ada).status == "removed"
    assert records_by_ref(world, "mood") == {}


class Interrupted(BaseException):
    """The end of a process."""


def test_a_batch_that_is_postponed_saves_the_removals_of_missing_documents(world: World) -> None:
    """They have no document to say that they wait."""
    moods = save_moods(world, 2)
    sync_batch(world, "mood", moods)
    delete(world, moods)
    engine = engine_with(world, open_repo=raising(SoftTimeLimitExceeded()))
    batches: BatchEngine = replace(world.services.sync.batches, engine=engine)
    assert statuses(sync_batch(world, "mood", moods, batches=batches)) == {"pending": 2}
    assert [note["id"] for note in removals_of(world)] == [str(mood) for mood in moods]


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded(), ValueError()], ids=["limit", "bug"])
def test_a_search_that_is_interrupted_counts_an_attempt_and_goes_on(
    world: World, error: Exception
) -> None:
    """The note keeps the position, too."""
    mood = bury(world)
    first = engine_with(world, pages=1)
    assert world.sync("mood", mood, engine=first, user=world.ada).status == "pending"
    cursor = removals_of(world)[0]["cursor"]
    broken = engine_with(world, open_bulk_repo=raising(error))
    try:
        world.sync("mood", mood, engine=broken, user=world.ada)
    except ValueError:
        assert isinstance(error, ValueError)
    (note,) = removals_of(world)
    assert (note["attempts"], note["cursor"]) == (1, cursor)
    assert world.sync("mood", mood, engine=first, user=world.ada).status == "removed"


def test_a_search_without_end_fails_and_keeps_its_note(world: World) -> None:
    """An operator retries it with all pages, or drops it."""
    mood = bury(world)
    engine = engine_with(world, pages=1, max_pages=1)
    outcome = world.sync("mood", mood, engine=engine, user=world.ada)
    assert outcome.status == "failed"
    name = f"mood:{world.ada}::{mood}"
    listed = call(world, "removals")
    assert listed.exit_code == 1
    assert name in listed.stdout
    assert "search_endless: delete the record at the PDS" in listed.stdout
    assert call(world, "removals", "--retry", name).exit_code == 0
    assert call(world, "removals", "--json").exit_code == 0
    assert [each.key for each in world.services.storage.removals.due()] == [name]
    assert world.sync("mood", mood, user=world.ada).status == "removed"


def test_an_operator_drops_a_removal(world: World) -> None:
    """Its record stays."""
    mood = world.publish_mood("stays")
    delete(world, [mood])
    world.services.storage.removals.save(removal_note("mood", mood, user=world.ada))
    name = f"mood:{world.ada}::{mood}"
    dropped = call(world, "removals", "--drop", name, "--yes")
    assert dropped.stdout == f"dropped: {name}\n"
    assert call(world, "removals", "--drop", name, "--yes").exit_code == 2
    assert removals_of(world) == []
    assert len(world.records("mood", mood)) == 1


def test_changed_removals_are_printed_as_json_lines(world: World) -> None:
    """One that is gone when it is its turn is reported, with exit code 1."""
    mood = ObjectId()
    world.services.storage.removals.save(removal_note("mood", mood, user=world.ada))
    name = f"mood:{world.ada}::{mood}"
    names = ("--retry", name, "--drop", name, "--drop", name)
    ahead = call(world, "removals", *names[:4], "--json", "--dry-run")
    assert ahead.exit_code == 0
    assert results_in(ahead.stdout) == [(name, "would be retried"), (name, "would be dropped")]
    done = call(world, "removals", *names, "--json", "--yes")
    assert done.exit_code == 1
    results = [(name, "retried"), (name, "dropped"), (name, "no longer saved")]
    assert results_in(done.stdout) == results


def results_in(output: str) -> list[tuple[str, str]]:
    """Return the removal and the result in each line of JSON."""
    found = map(json.loads, output.splitlines())
    return [(each["removal"], each["result"]) for each in found]


def test_documents_inserted_again_with_their_old_state_are_published_by_a_batch(
    world: World,
) -> None:
    """Their records were removed meanwhile; one that was not removed is not written again."""
    moods = save_moods(world, 3)
    sync_batch(world, "mood", moods)
    before = records_by_ref(world, "mood")
    documents = delete(world, moods[:2])
    for mood in moods[:2]:
        world.sync("mood", mood, user=world.ada)
    world.services.storage.store.collection(MOOD).insert_many(documents)
    assert statuses(sync_batch(world, "mood", moods)) == {"synced": 3}
    assert records_by_ref(world, "mood") == before


def test_a_sweep_withdraws_failed_removals_of_documents_that_came_back(world: World) -> None:
    """By id or record key; kept are due ones, and those of other users or missing documents."""
    moods = save_moods(world, 3)
    sync_batch(world, "mood", moods)
    removals = world.services.storage.database["atproto_removals"]
    notes = [removal_note("mood", mood, user=world.ada) for mood in moods]
    rkey = world.platform.state("mood", moods[1])["rkey"]
    by_key = {**notes[1], "_id": f"mood:{world.ada}:{rkey}:", "id": None, "rkey": rkey}
    missing = removal_note("mood", ObjectId(), user=world.ada)
    others = removal_note("mood", moods[0], user="auth0|bob")
    failed = [each | {"retryAt": None} for each in (notes[0], by_key, missing, others)]
    removals.insert_many([*failed, notes[2]])
    world.services.sync.sweep.failed_removals.withdraw()
    kept = {note["_id"] for note in removals_of(world)}
    assert kept == {missing["_id"], others["_id"], notes[2]["_id"]}


@pytest.mark.parametrize("by_key", [False, True])
def test_a_document_that_comes_back_during_its_removal_keeps_its_record(
    world: World, *, by_key: bool
) -> None:
    """It is inserted again with its old state, and synced, while its record is looked up."""
    mood = world.publish_mood("comes back")
    collection, opened = world.services.storage.store.collection(MOOD), 0
    (document,) = delete(world, [mood])
    rkey = document["atproto"]["rkey"]  # type: ignore[index]

    def open_repo(account: Account) -> Repo:
        nonlocal opened
        opened += 1
        if opened == 2:  # to delete the record
            collection.insert_one(document)
            assert world.sync("mood", mood).status == "synced"
        return world.services.sync.engine.open_repo(account)

    engine = engine_with(world, open_repo=open_repo)
    if by_key:
        outcome = engine.delete_record("mood", world.ada, rkey, holder="message")
    else:
        outcome = world.sync("mood", mood, engine=engine, user=world.ada)
    assert (outcome.status, outcome.error and outcome.error.code) == (
        "pending",
        "document_returned",
    )
    assert len(removals_of(world)) == 1
    if by_key:
        again = world.services.sync.engine.delete_record("mood", world.ada, rkey, holder="next")
    else:
        again = world.sync("mood", mood, user=world.ada)
    assert again.status == "synced"
    assert len(world.records("mood", mood)) == 1
    assert removals_of(world) == []


def test_a_document_of_another_user_with_the_same_id_ends_no_removal(world: World) -> None:
    """Slugs are used again: the deleted document's record goes, the new one's stays."""
    collection = world.services.storage.store.collection(MOOD)
    mood = world.platform.save_mood("of ada", world.ada)
    world.sync("mood", mood)
    (document,) = delete(world, [mood])
    world.services.storage.removals.save(removal_note("mood", mood, user=world.ada))
    state = document.pop("atproto")
    collection.insert_one({**document, "user": world.bob})
    assert world.sync("mood", mood, user=world.ada).status == "synced"
    (record,) = world.records("mood", mood)
    assert record["uri"] != state["uri"]  # type: ignore[index]
    assert removals_of(world) == []


def test_a_record_without_a_document_at_the_key_of_a_note_is_reported(world: World) -> None:
    """It may be the deleted document's: an operator decides."""
    mood = world.publish_mood("of an older program")
    state = world.platform.state("mood", mood)
    account = world.services.storage.accounts.find(world.ada)
    assert account
    repo = world.services.sync.engine.open_repo(account)
    record = repo.get(repo.key(MOOD.nsid, str(state["rkey"])))
    assert record
    value = {key: value for key, value in record.value.items() if key != "ref"}
    repo.put(repo.key(MOOD.nsid, str(state["rkey"])), value, swap=record.cid)
    delete(world, [mood])
    note = removal_note("mood", mood, user=world.ada, rkey=str(state["rkey"]))
    world.services.storage.removals.save(note)
    outcome = world.sync("mood", mood, user=world.ada)
    assert (outcome.status, outcome.error and outcome.error.code) == (
        "failed",
        "record_not_proven",
    )
    assert len(removals_of(world)) == 1


def test_an_unexpected_error_with_the_repo_of_a_batch_is_saved_on_its_documents(
    world: World,
) -> None:
    """No sweep finds older documents otherwise."""
    moods = save_moods(world, 2)
    batches = replace(world.services.sync.batches, open_repo=raising(ValueError()))
    with pytest.raises(ExceptionGroup):
        sync_batch(world, "mood", moods, batches=batches)
    assert {error_of(world, "mood", mood) for mood in moods} == {("pending", "run", "ValueError")}
    assert all("retryAt" in world.platform.state("mood", mood) for mood in moods)


def test_an_unexpected_error_with_a_changed_document_ends_no_batch(
    world: World, watch: Watch
) -> None:
    """All are edited while they are written; each is synced again, and the error saved."""
    moods = save_moods(world, 3)

    def edit_all() -> None:
        for mood in moods:
            world.platform.edit("mood", mood, mood="edited")

    watch.at(("after", "apply"), edit_all)
    engine = replace(watch.batches.engine, open_repo=raising(ValueError()))
    with pytest.raises(ExceptionGroup):
        sync_batch(world, "mood", moods, batches=replace(watch.batches, engine=engine))
    assert {error_of(world, "mood", mood) for mood in moods} == {("pending", "run", "ValueError")}
