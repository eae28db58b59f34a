"""Batches with bad items in them: each ends by itself, and its neighbours are published."""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from uuid import uuid4

import pytest
from bson import ObjectId
from celery.exceptions import SoftTimeLimitExceeded

from tests.bulk import (
    MOOD,
    PAINTING,
    assert_agreement,
    error_of,
    repo,
    save_moods,
    save_paintings,
    statuses,
    sync_batch,
)
from tests.changes import WorkerKilledError
from tests.contract.hooked_sources import with_hook
from tests.watching import Watch
from tests.world import World
from worker.media import Draft
from worker.media.base import BlobSpec, BlobTransform, BuildContext, MediaType
from worker.sync.batch.engine import BatchEngine, BatchRequest
from worker.sync.batch.progress import BackfillProgress, ProgressTracker


def test_bad_items_fail_alone(world: World) -> None:
    """A field, a limit of the lexicon, a date: each is marked, and 47 neighbours are published."""
    items = save_moods(world, 50)
    faults: list[dict[str, object]] = [{"mood": 7}, {"mood": "z" * 5001}, {"when": 1}]
    for item, fault in zip(items[10:13], faults, strict=True):
        world.platform.edit("mood", item, **fault)
    outcomes = sync_batch(world, "mood", items)
    assert statuses(outcomes) == {"synced": 47, "failed": 3}
    assert [error_of(world, "mood", item)[1:] for item in items[10:13]] == [
        ("document", "field_invalid"),
        ("validate", "lexicon_violation"),
        ("document", "field_invalid"),
    ]
    assert_agreement(world)


def test_bad_images_leave_their_paintings_partial(world: World) -> None:
    """Unreadable, cut off, too large, or no file at all: the record is up without thumbnail."""
    items = save_paintings(world, 6)
    for item, data in zip(items[:3], (b"no image", b"", b"\x89PNG\r\n\x1a\n"), strict=True):
        slug = world.platform.document("painting", item)["slug"]
        world.platform.store(f"{slug}.png", data, world.ada)
    world.platform.edit("painting", items[3], slug="../../etc/passwd")
    outcomes = sync_batch(world, "painting", items)
    assert statuses(outcomes) == {"synced": 2, "partial": 4}
    assert_agreement(world)


def test_a_blob_that_the_pds_has_lost_is_uploaded_again(world: World, watch: Watch) -> None:
    """Two of ten are gone, and the states do not know it: they are healed, in the same batch."""
    items = save_paintings(world, 10)
    sync_batch(world, "painting", items)
    owner = repo(world, world.ada)
    for item in (items[3], items[7]):
        # With its last reference a blob is gone.
        owner.delete(owner.key(PAINTING.nsid, str(world.platform.state("painting", item)["rkey"])))
        world.platform.edit("painting", item, code="edited")
    outcomes = sync_batch(world, "painting", items, batches=watch.batches)
    assert statuses(outcomes) == {"synced": 10}
    for item in items:
        assert world.blob(world.dids[world.ada], world.record("painting", item)["thumbnail"])
    assert watch.count["upload"] == 2
    assert_agreement(world)


class UnluckyError(Exception):
    """What a bug raises."""


def test_a_bug_with_an_item_is_told_after_its_neighbours_are_done(world: World) -> None:
    """The error is raised for the log and Sentry; the item says that it was a bug."""
    items = save_moods(world, 5)
    culprits = {items[1], items[3]}

    def build(item: BuildContext, kind: MediaType) -> Draft:
        if item.document.ref.id in culprits:
            raise UnluckyError
        return MOOD.build(item, kind)

    kind = replace(MOOD, build=build)
    with pytest.raises(ExceptionGroup) as caught:
        world.services.sync.batches.sync(BatchRequest(kind, world.ada, items, "message"))
    assert [type(error) for error in caught.value.exceptions] == [UnluckyError, UnluckyError]
    for item in items:
        if item in culprits:
            assert error_of(world, "mood", item) == ("pending", "run", "UnluckyError")
            assert world.platform.state("mood", item)["attempts"] == 1
        else:
            assert world.platform.state("mood", item)["status"] == "synced"
    assert_agreement(world)


def test_large_documents_are_not_in_memory_together(world: World) -> None:
    """Not even those whose state is large: they are published one by one."""
    items = save_moods(world, 3)
    nested: dict[str, object] = {f"{number:x}": {} for number in range(20_000)}
    world.platform.edit("mood", items[0], atproto={"blobs": nested})
    world.platform.edit("mood", items[1], other="x" * 2**17)
    loaded = world.services.sync.batches.batch_store.read(MOOD, items)
    assert [each and each.id for each in loaded] == [None, None, items[2]]
    assert statuses(sync_batch(world, "mood", items)) == {"synced": 3}


def test_a_builder_that_returns_no_draft_harms_no_neighbours(world: World) -> None:
    """Builders of other packages may return anything; each item says that it was a bug."""
    spec = BlobSpec((), BlobTransform.AS_IS)
    wrong = (
        None,
        "text",
        Draft("computer.aesthetic.painting", {}),
        Draft(MOOD.nsid, {}, blobs=cast("dict[str, BlobSpec]", ["thumbnail"])),
        Draft(MOOD.nsid, {}, blobs={"thumbnail": cast("BlobSpec", "x.png")}),
        Draft(MOOD.nsid, {}, blobs={"not in the lexicon": spec}),
        Draft(MOOD.nsid, {}, blobs={"not declared": BlobSpec((), BlobTransform.THUMBNAIL)}),
        Draft(MOOD.nsid, cast("dict[str, str]", None)),
        Draft(MOOD.nsid, {"$type": cast("str", object())}),
    )
    items = save_moods(world, len(wrong) + 2)
    drafts: dict[object, Draft | str | None] = dict(zip(items[1:], wrong, strict=False))

    def build(item: BuildContext, kind: MediaType) -> Draft:
        return cast("Draft", drafts.get(item.document.ref.id, MOOD.build(item, kind)))

    kind = replace(MOOD, build=build, has_files=True)
    with pytest.raises(ExceptionGroup):
        world.services.sync.batches.sync(BatchRequest(kind, world.ada, items, "message"))
    states = [world.platform.state("mood", item) for item in items]
    assert [states[0]["status"], states[-1]["status"]] == ["synced", "synced"]
    assert {state["status"] for state in states[1:-1]} <= {"pending", "failed"}
    assert all("lease" not in state for state in states)


def test_a_builder_that_hangs_delays_its_neighbours_once(world: World) -> None:
    """The time limit of the batch ends it; then the sweep enqueues the items one by one."""
    items = save_moods(world, 3)

    def build(item: BuildContext, kind: MediaType) -> Draft:
        if item.document.ref.id == items[1]:
            raise SoftTimeLimitExceeded
        return MOOD.build(item, kind)

    kind = replace(MOOD, build=build)
    world.services.sync.batches.sync(BatchRequest(kind, world.ada, items, "message"))
    states = [world.platform.state("mood", item) for item in items]
    assert all(state["status"] == "pending" and "retryAt" in state for state in states)
    for item in (items[0], items[2]):
        assert world.sync("mood", item).status == "synced"


def test_a_backfill_hears_of_a_batch_with_a_bug(world: World) -> None:
    """Nobody waits for a message that has failed."""
    items = save_moods(world, 4)

    def build(item: BuildContext, kind: MediaType) -> Draft:
        if item.document.ref.id == items[2]:
            raise UnluckyError
        return MOOD.build(item, kind)

    name, message = uuid4().hex, uuid4().hex
    ProgressTracker(world.services.storage.redis).expect(name, message)
    kind = replace(MOOD, build=build)
    request = BatchRequest(kind, world.ada, items, message, backfill=name)
    with pytest.raises(ExceptionGroup):
        world.services.sync.batches.sync_reporting(request, max_wait=30)
    assert ProgressTracker(world.services.storage.redis).read(name) == BackfillProgress(
        batches=0,
        ended={("mood", "synced"): 3, ("mood", "pending"): 1},
        reasons={("mood", "UnluckyError"): 1},
    )
    assert_agreement(world)


@pytest.mark.parametrize("call", ["stat", "read"])
@pytest.mark.parametrize("error", [UnluckyError, MemoryError, RecursionError, UnicodeError])
def test_an_unexpected_error_with_a_file_keeps_no_record_from_being_published(
    world: World, call: str, error: type[Exception]
) -> None:
    """Its painting is partial, and reads the file again later."""
    items = save_paintings(world, 2)
    batches = with_poison(world, items[1], error, call)
    outcomes = sync_batch(world, "painting", items, batches=batches)
    assert [outcome.status for outcome in outcomes] == ["synced", "partial"]
    assert error_of(world, "painting", items[1]) == ("partial", "source", "source_unexpected")
    assert "retryAt" in world.platform.state("painting", items[1])
    assert_agreement(world)


def test_an_image_that_kills_workers_is_given_up_and_its_neighbours_are_published(
    world: World,
) -> None:
    """Its message comes again after each death; then items are taken one by one."""
    items = save_paintings(world, 4)
    batches = with_poison(world, items[1], WorkerKilledError)
    deaths = 0
    while True:
        try:
            outcomes = sync_batch(world, "painting", items, batches=batches, holder="message")
        except WorkerKilledError:
            deaths += 1
        else:
            break
    assert deaths == world.services.settings.retry.max_lost
    assert [outcome.status for outcome in outcomes] == ["synced", "failed", "synced", "synced"]
    assert error_of(world, "painting", items[1]) == ("failed", "run", "worker_lost")
    assert_agreement(world)


def with_poison(
    world: World, painting: ObjectId, end: type[BaseException], call: str = "read"
) -> BatchEngine:
    """Return what syncs batches, and ends so when it looks at or reads a painting's image."""
    poison = (call, f"{world.platform.document('painting', painting)['slug']}.png")

    def taste(*access: str) -> None:
        if access == poison:
            raise end

    return with_hook(world.services, world.services.sync.batches, taste)
