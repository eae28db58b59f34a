"""`since` is the first error, and an item counts as published when its record is written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

from bson import ObjectId

from tests.bulk import sync_batch
from tests.contract.items import MOOD, give_account, save, settle
from tests.pictures import pixel_art
from tests.world import World
from worker.core.clock import now
from worker.core.documents import Failure, ItemRef, MediaDocument, Status
from worker.core.errors import MediaError, PermanentError, TransientError
from worker.database.mongo import RawDocument
from worker.media import media_type
from worker.operations.status import Failures, throughput
from worker.services import Services
from worker.sync.retry import after_failure

MINUTE = timedelta(minutes=1)
FIRST = TransientError("no answer", step="write", code="pds_unreachable")
SECOND = PermanentError("field 'mood' is missing", step="document", code="field_invalid")


def fail_run(here: Services, ref: ItemRef, error: MediaError, at: datetime) -> None:
    """Have a run of a mood end with an error at a time."""
    store = here.storage.store
    claimed = store.claim(MOOD, [ref.id], holder=str(at), lease=100)
    assert isinstance(claimed, MediaDocument)
    state = after_failure(claimed.state, error, here.settings.retry, at)
    store.finish(MOOD, claimed, state)


def since(here: Services, ref: ItemRef) -> datetime | None:
    """Return since when an item has been failing."""
    document = here.storage.store.find(MOOD, [ref.id])
    assert document
    return document.state.failing_since


def published(world: World) -> int:
    """Return how many items were published in the last hour."""
    kinds = [media_type("mood"), media_type("painting")]
    return throughput(world.services.storage.store, kinds, now() + MINUTE).hour.total


def date_back(world: World, type_name: str, item: ObjectId, *names: str) -> datetime:
    """Move times of an item's state half an hour back; return the new time."""
    at = (now() - 30 * MINUTE).replace(microsecond=0)
    times = {f"atproto.{name}": at for name in names}
    collection = world.services.storage.store.collection(media_type(type_name))
    collection.update_one({"_id": item}, {"$set": times})
    return at


def painting_without_image(world: World) -> ObjectId:
    """Publish a painting of ada whose image is missing."""
    item = world.platform.save_painting("late", world.ada)
    assert world.sync("painting", item).status is Status.PARTIAL
    return item


def test_since_is_the_first_error_also_after_an_edit_and_with_another_code(here: Services) -> None:
    """The message and `at` are those of the last error."""
    ref, began = save(here), now().replace(microsecond=0)
    for minutes, error in enumerate((FIRST, FIRST, SECOND)):
        fail_run(here, ref, error, began + minutes * MINUTE)
        here.storage.store.collection(MOOD).update_one({"_id": ref.id}, {"$set": {"mood": minutes}})
    (item,) = Failures(here.storage.database, here.storage.store).of(MOOD)
    assert item.error
    assert (item.since, item.error.at) == (began, began + 2 * MINUTE)
    assert item.error.code == "field_invalid"


def test_since_begins_anew_after_a_success(here: Services) -> None:
    """And an item without an error has none."""
    ref, began = save(here), now().replace(microsecond=0)
    fail_run(here, ref, FIRST, began)
    settle(here, ref)
    assert since(here, ref) is None
    state = here.storage.store.collection(MOOD).find_one({"_id": ref.id})
    assert state
    assert "failingSince" not in cast("RawDocument", state["atproto"])
    fail_run(here, ref, FIRST, began + MINUTE)
    assert since(here, ref) == began + MINUTE


def test_since_is_kept_where_an_error_is_saved_without_its_state(here: Services) -> None:
    """Postponed by batches, and marked as failed: at first, and after another error."""
    store, began = here.storage.store, now().replace(microsecond=0)
    new, failing = save(here), save(here)
    fail_run(here, failing, FIRST, began)
    later = Failure.of(FIRST, began + MINUTE)
    batches = here.sync.batches.batch_store
    batches.postpone(MOOD, [new.id, failing.id], later, began + 2 * MINUTE)
    assert (since(here, new), since(here, failing)) == (began + MINUTE, began)
    store.mark_failed(MOOD, failing.id, later)
    assert since(here, failing) == began


def test_since_of_older_states_is_their_last_error(here: Services) -> None:
    """No run has saved the first one."""
    give_account(here, "auth0|ada")
    ref, began = save(here), now().replace(microsecond=0)
    fail_run(here, ref, FIRST, began)
    here.storage.store.collection(MOOD).update_one(
        {"_id": ref.id}, {"$unset": {"atproto.failingSince": ""}}
    )
    assert since(here, ref) == began


def test_a_partial_item_is_published_once_and_failing_since_its_first_attempt(world: World) -> None:
    """Each further attempt confirms its record, and publishes nothing."""
    before, item = published(world), painting_without_image(world)
    saved = date_back(world, "painting", item, "publishedAt", "failingSince")
    assert world.sync("painting", item).status is Status.PARTIAL
    sync_batch(world, "painting", [item])
    state = world.platform.state("painting", item)
    assert (state["publishedAt"], state["failingSince"]) == (saved, saved)
    assert state["syncedAt"] > saved  # type: ignore[operator]
    assert published(world) == before + 1
    world.platform.store("late.png", pixel_art(), world.ada)
    assert world.sync("painting", item).status is Status.SYNCED
    state = world.platform.state("painting", item)
    assert state["publishedAt"] > saved  # type: ignore[operator]
    assert "failingSince" not in state


def test_removals_and_forced_writes_are_not_counted_as_published(world: World) -> None:
    """One item by itself, one in a batch; a forced write of the same version changes nothing."""
    before = published(world)
    mood, other = (world.platform.save_mood(text, world.ada) for text in ("calm", "glad"))
    world.sync("mood", mood)
    sync_batch(world, "mood", [other])
    assert published(world) == before + 2
    saved = date_back(world, "mood", mood, "publishedAt")
    world.sync("mood", mood, force=True)
    assert world.platform.state("mood", mood)["publishedAt"] == saved
    moods = world.services.storage.store.collection(media_type("mood"))
    moods.update_one({"_id": other}, {"$set": {"nuked": True}})
    assert world.sync("mood", other).status is Status.REMOVED
    assert published(world) == before + 1
