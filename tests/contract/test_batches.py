"""Batches: many documents of one account, published as if each had been synced alone."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from bson import ObjectId

from tests.bulk import (
    KINDS,
    MOOD,
    PAINTING,
    assert_agreement,
    new_user,
    records_by_ref,
    repo,
    save_moods,
    save_one_of,
    save_paintings,
    set_state,
    state_of,
    statuses,
    sync_batch,
    timeless,
)
from tests.contract.hooked_sources import with_hook
from tests.waiting import wait_for
from tests.watching import Watch
from tests.world import World
from worker.core.clock import after
from worker.database.mongo import RawDocument
from worker.media import MediaType
from worker.sync.batch.engine import BatchRequest

GUESTS = "art-guest"


def outcome_of_each(world: World, kind: MediaType, items: list[ObjectId]) -> list[RawDocument]:
    """Return the states of items, without their times, and their records."""
    states, there = world.platform.states(kind.name), records_by_ref(world, kind.name)
    return [timeless(states[item]) | {"records": there.get(str(item))} for item in items]


def take_down(world: World, kind: MediaType, items: list[ObjectId]) -> None:
    """Remove items' records, and let their documents be as new."""
    states = world.platform.states(kind.name)
    for item in items:
        if "uri" in states[item]:
            owner = repo(world, str(world.platform.document(kind.name, item).get("user", GUESTS)))
            owner.delete(owner.key(kind.nsid, str(states[item]["rkey"])))
    documents = world.services.storage.store.collection(kind)
    documents.update_many({"_id": {"$in": items}}, {"$unset": {"atproto": ""}})


@pytest.mark.parametrize("user", ["ada", "guests"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_batch_ends_as_the_syncs_of_its_items_would(
    world: World, kind: MediaType, user: str
) -> None:
    """The same keys, versions, blobs and states: of good items, of bad ones, and of odd ones."""
    subject = world.ada if user == "ada" else None
    items = [save_one_of(world, kind.name, subject) for _ in range(5)]
    without_file, without_date, nuked = items[2:]
    world.platform.edit(kind.name, without_file, slug="never-stored")
    world.platform.edit(kind.name, without_date, when="yesterday")
    world.platform.edit(kind.name, nuked, nuked=True)
    sync_batch(world, kind.name, items, subject=subject or GUESTS)
    together = outcome_of_each(world, kind, items)
    assert_agreement(world)
    take_down(world, kind, items)
    for item in items:
        world.sync(kind.name, item)
    assert together == outcome_of_each(world, kind, items)


def test_a_second_batch_changes_nothing(world: World, watch: Watch) -> None:
    """Nothing is uploaded, nothing written: the repo keeps its revision."""
    items = save_paintings(world, 3)
    sync_batch(world, "painting", items)
    revision = world.revision(world.dids[world.ada])
    outcomes = sync_batch(world, "painting", items, batches=watch.batches)
    assert statuses(outcomes) == {"synced": 3}
    assert (watch.count["upload"], watch.count["apply"]) == (0, 0)
    assert world.revision(world.dids[world.ada]) == revision


def test_only_what_has_changed_is_written(world: World, watch: Watch) -> None:
    """An edited item among others is updated where it is."""
    items = save_moods(world, 5)
    sync_batch(world, "mood", items)
    rkey = state_of(world, items[2])["rkey"]
    world.platform.edit("mood", items[2], mood="edited")
    sync_batch(world, "mood", items, batches=watch.batches)
    assert watch.sizes == [1]
    assert world.record("mood", items[2])["text"] == "edited"
    assert state_of(world, items[2])["rkey"] == rkey
    assert_agreement(world)


def test_a_hundred_items_take_one_write(world: World, watch: Watch) -> None:
    """That is what makes a batch quick."""
    outcomes = sync_batch(world, "mood", save_moods(world, 100), batches=watch.batches)
    assert statuses(outcomes) == {"synced": 100}
    assert watch.sizes == [100]


def test_eight_blobs_are_uploaded_at_a_time(world: World, watch: Watch) -> None:
    """All eight are on their way before the first one has arrived; a ninth never is."""
    together = threading.Barrier(8, timeout=60)
    watch.at(("before", "upload"), together.wait, times=16)
    outcomes = sync_batch(world, "painting", save_paintings(world, 16), batches=watch.batches)
    assert statuses(outcomes) == {"synced": 16}
    assert watch.most["upload"] <= 8


def test_images_are_ready_before_the_first_upload_and_at_most_a_group_ahead(
    world: World, watch: Watch
) -> None:
    """Uploads come close upon another; what waits for its turn takes memory."""
    read: list[str] = []
    before: list[int] = []
    watch.at(("before", "upload"), lambda: before.append(len(read)), times=70)

    def note(call: str, name: str) -> None:
        if call == "read":
            read.append(name)

    batches = with_hook(world.services, watch.batches, note)
    assert statuses(sync_batch(world, "painting", save_paintings(world, 70), batches=batches)) == {
        "synced": 70
    }
    assert len(before) == len(set(read)) == 70
    for number, ready in enumerate(before):
        group = number // 32
        assert min(70, 32 * (group + 1)) <= ready <= 32 * (group + 2)


def test_blobs_of_a_type_that_was_not_said_to_have_files_are_made_all_the_same(
    world: World,
) -> None:
    """Only more slowly: what a batch does must not hang on a flag that is about speed."""
    (item,) = save_paintings(world, 1)
    kind = replace(PAINTING, has_files=False)
    outcomes = world.services.sync.batches.sync(
        BatchRequest(kind, world.ada, [str(item)], "message")
    )
    assert statuses(outcomes) == {"synced": 1}
    assert "thumbnail" in world.record("painting", item)


def test_outcomes_come_in_the_order_asked_for(world: World) -> None:
    """Whatever way each item went."""
    good, nuked, bad = save_moods(world, 3)
    world.platform.edit("mood", nuked, nuked=True)
    world.platform.edit("mood", bad, mood=5)
    missing = ObjectId()
    items = [bad, good, missing, nuked]
    outcomes = sync_batch(world, "mood", items)
    assert [str(outcome.item) for outcome in outcomes] == [f"mood {item}" for item in items]
    assert [outcome.status for outcome in outcomes] == ["failed", "synced", "removed", "skipped"]


def test_ids_may_be_numbers_or_texts(world: World) -> None:
    """Documents of older programs have such; an id that comes twice is one item."""
    ids = [5, "5", "an id of text", "65f1c0ffee65f1c0ffee0001"]
    for raw in ids:
        document = {"_id": raw, "mood": f"as {raw!r}", "when": after(0), "user": world.ada}
        world.services.storage.store.collection(MOOD).insert_one(document)
    outcomes = sync_batch(world, "mood", [*ids, "an id of text"])
    assert statuses(outcomes) == {"synced": 5}
    assert_agreement(world)


def test_a_legacy_document_keeps_its_key(world: World) -> None:
    """It has an rkey alone, or it has something that no state can be written to."""
    legacy, strange, odd = save_moods(world, 3)
    set_state(world, MOOD, legacy, rkey="3legacy2key22")
    documents = world.services.storage.store.collection(MOOD)
    documents.update_one({"_id": strange}, {"$set": {"atproto": None}})
    documents.update_one({"_id": odd}, {"$set": {"atproto": "published"}})
    assert statuses(sync_batch(world, "mood", [legacy, strange, odd])) == {"synced": 3}
    assert str(state_of(world, legacy)["uri"]).endswith("/3legacy2key22")
    assert_agreement(world)


def test_two_documents_with_one_key_get_one_each(world: World) -> None:
    """A key names one record: the second item of older programs gets another."""
    first, second, third = save_moods(world, 3)
    set_state(world, MOOD, first, rkey="3twice2used22")
    set_state(world, MOOD, second, rkey="3twice2used22")
    assert statuses(sync_batch(world, "mood", [first, second, third])) == {"synced": 3}
    assert_agreement(world)


def test_a_record_that_is_there_already_is_taken_for_its_items_own(world: World) -> None:
    """Its key was reserved by a run that died: the same content or another, it becomes right."""
    same, other, gone = save_moods(world, 3)
    sync_batch(world, "mood", [same, other, gone])
    for item in (same, other, gone):
        state = state_of(world, item)
        set_state(world, MOOD, item, repo=state["repo"], rkey=state["rkey"])
    world.platform.edit("mood", other, mood="edited since")
    owner = repo(world, world.ada)
    owner.delete(owner.key(MOOD.nsid, str(state_of(world, gone)["rkey"])))
    assert statuses(sync_batch(world, "mood", [same, other, gone])) == {"synced": 3}
    assert world.record("mood", other)["text"] == "edited since"
    assert_agreement(world)


def test_an_item_that_is_another_users_by_now_goes_to_that_user(world: World) -> None:
    """Given away after the batch was enqueued, published before or not."""
    published, fresh, kept = save_moods(world, 3)
    sync_batch(world, "mood", [published])
    for item in (published, fresh):
        world.platform.edit("mood", item, user=world.bob)
    assert statuses(sync_batch(world, "mood", [published, fresh, kept])) == {"synced": 3}
    repos = [state_of(world, item)["repo"] for item in (published, fresh, kept)]
    assert repos == [world.dids[world.bob], world.dids[world.bob], world.dids[world.ada]]
    assert_agreement(world)


def test_items_follow_their_user_to_a_new_account(world: World) -> None:
    """The user's DID is another one now: records leave the old repo."""
    old, new = new_user(world), new_user(world)
    published, fresh = save_moods(world, 2, old)
    sync_batch(world, "mood", [published], subject=old)
    users = world.services.storage.database["users"]
    accounts = [(users.find_one({"_id": subject}) or {})["atproto"] for subject in (new, old)]
    for subject, account in zip((old, new), accounts, strict=True):
        users.update_one({"_id": subject}, {"$set": {"atproto": account}})
    world.dids[old], world.dids[new] = world.dids[new], world.dids[old]
    outcomes = sync_batch(world, "mood", [published, fresh], subject=old)
    assert statuses(outcomes) == {"synced": 2}
    assert {state_of(world, item)["repo"] for item in (published, fresh)} == {world.dids[old]}
    assert_agreement(world)


@pytest.mark.parametrize(
    ("user", "subject", "reason"),
    [("auth0|nobody", "auth0|nobody", "no_account"), (None, GUESTS, "guests_not_published")],
)
def test_items_without_an_account_to_publish_to_are_skipped(
    world: World, user: str | None, subject: str, reason: str
) -> None:
    """As single items are: with the reason, by which they are found again."""
    items = [world.platform.save_mood("boo", user) for _ in range(2)]
    outcomes = sync_batch(world, "mood", items, subject=subject)
    assert [(each.status, each.detail) for each in outcomes] == [("skipped", reason)] * 2


def test_what_waits_is_left_waiting_where_that_was_asked(world: World, watch: Watch) -> None:
    """A PDS asked to wait; or another message tries again later."""
    held, waiting, due = save_moods(world, 3)
    set_state(world, MOOD, held, status="pending", heldUntil=after(60), retryAt=after(60))
    set_state(world, MOOD, waiting, status="pending", retryAt=after(60))
    items = [held, waiting, due]
    outcomes = sync_batch(world, "mood", items, only_if_due=True)
    assert [outcome.status for outcome in outcomes] == [None, None, "synced"]
    assert "attempts" not in state_of(world, waiting)
    outcomes = sync_batch(world, "mood", items, batches=watch.batches)
    assert [outcome.status for outcome in outcomes] == [None, "synced", "synced"]


def test_batches_of_one_account_write_one_after_the_other(world: World, watch: Watch) -> None:
    """Two at once would be slower, and each would find that the other has committed."""
    first, second = save_moods(world, 30), save_moods(world, 30)

    def second_batch() -> None:
        sync_batch(world, "mood", second, batches=watch.batches)

    other = threading.Thread(target=second_batch)

    def start_the_other() -> None:
        other.start()
        wait_for(
            lambda: all("lease" in state_of(world, item) for item in second),
            within=60,
            what="the second batch to be claimed",
        )

    watch.at(("before", "apply"), start_the_other)
    sync_batch(world, "mood", first, batches=watch.batches)
    other.join()
    assert watch.most["apply"] == 1
    assert watch.sizes == [30, 30]
    assert_agreement(world)


def test_a_painting_without_its_image_is_up_all_the_same(world: World) -> None:
    """Partial, and tried again; once the image is there it is right."""
    items = save_paintings(world, 3)
    world.platform.edit("painting", items[1], slug="late")
    assert statuses(sync_batch(world, "painting", items)) == {"synced": 2, "partial": 1}
    assert "thumbnail" not in world.record("painting", items[1])
    world.platform.store("late.png", b"GIF89a no image", world.ada)
    assert statuses(sync_batch(world, "painting", items)) == {"synced": 2, "partial": 1}
    there = world.platform.document("painting", items[0])["slug"]
    world.platform.edit("painting", items[1], slug=there)
    assert statuses(sync_batch(world, "painting", items)) == {"synced": 3}
    assert "error" not in world.platform.state("painting", items[1])
