"""Another recipe for thumbnails: nothing is republished, unless an operator asks for it."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import replace

import pytest
from bson import ObjectId
from pymongo import MongoClient

from tests.backfills import dry_run, run_backfill
from tests.bulk import (
    PAINTING,
    account,
    repo,
    save_painting,
    set_state,
    start_over,
    statuses,
    sync_batch,
)
from tests.changes import WorkerKilledError, kill_worker
from tests.contract.older_records import Older, write_older
from tests.pictures import decode, pixel_art
from tests.watching import Watch
from tests.world import World, at_step
from worker.core.clock import after, now
from worker.database.leases import new_lease
from worker.database.mongo import RawDocument
from worker.database.thumbnail_cache import COLLECTION, ThumbnailCache
from worker.files.thumbnail import ThumbnailSettings
from worker.operations.audit.findings import DocumentStanding
from worker.operations.audit.run import open_audit
from worker.operations.backfill.planner import Scope
from worker.operations.backfill.rehearsed_item import Effect
from worker.operations.backfill.remake import mark_remake
from worker.services.sync import build_sync
from worker.sync.batch.throttle import BulkThrottle
from worker.telemetry.alerts import NULL_ALERTS

FIRST, SECOND = (ThumbnailSettings(size=size) for size in (24, 32))


@pytest.fixture
def user(world: World) -> str:
    """A user without items and records."""
    start_over(world)
    return world.ada


@pytest.fixture
def old(world: World) -> World:
    """The world with workers that make thumbnails by the first recipe."""
    return with_recipe(world, FIRST)


@pytest.fixture
def new(world: World) -> World:
    """The same world with workers that have another recipe."""
    return with_recipe(world, SECOND)


def with_recipe(world: World, recipe: ThumbnailSettings) -> World:
    """Return the world with workers that have this recipe."""
    services = world.services
    media = replace(services.media, thumbnail_settings=recipe)
    sync = build_sync(
        services.settings,
        services.storage,
        services.pds,
        media,
        throttle=BulkThrottle(services.storage.redis),
        alerts=NULL_ALERTS,
        metrics=None,
    )
    return replace(world, services=replace(services, media=media, sync=sync))


def publish(world: World, user: str, width: int = 8) -> ObjectId:
    """Save and publish a painting."""
    painting = save_painting(world, width, user)
    assert world.sync("painting", painting).status == "synced"
    return painting


def mark(world: World, user: str, *, failed: bool = False, limit: int | None = None) -> int:
    """Mark a user's paintings as the command does; return how many."""
    scope = Scope([PAINTING], [user], failed=failed, synced=True, limit=limit)
    return mark_remake(world.services, scope)


def remake(world: World, user: str, *, failed: bool = False) -> Counter[str]:
    """Mark a user's paintings and backfill them; count the results."""
    mark(world, user, failed=failed)
    done = run_backfill(world, kinds=[PAINTING], owners=[user], failed=failed)
    return Counter({str(status): number for (_, status), number in done.ended.items()})


def state_of(world: World, painting: ObjectId) -> RawDocument:
    """Return what a painting's `atproto` says."""
    return world.platform.state("painting", painting)


def cid_of(world: World, painting: ObjectId) -> str:
    """Return the CID of the thumbnail in a painting's record."""
    thumbnail = world.record("painting", painting)["thumbnail"]
    assert isinstance(thumbnail, dict)
    return str(thumbnail["ref"]["$link"])


def size_of(world: World, user: str, painting: ObjectId) -> int:
    """Return the side of the thumbnail that the PDS has."""
    blob = world.blob(world.dids[user], world.record("painting", painting)["thumbnail"])
    return decode(blob).width


def cached(world: World) -> set[object]:
    """Return the CIDs of all cached thumbnails."""
    return set(world.services.storage.database[COLLECTION].distinct("cid"))


def older(world: World, user: str) -> Older:
    """Save a painting with a record, and a thumbnail, of an older program."""
    written = write_older(world, user, "painting", save_painting(world, 9, user))
    return written.legacy("rkey alone")


def test_another_recipe_alone_republishes_nothing(old: World, new: World, user: str) -> None:
    """Neither of a synced item nor of an adopted one: no sync, batch, backfill or repair does."""
    adopted, painting = older(old, user), publish(old, user)
    assert adopted.sync() == "synced"
    revision, items = new.revision(new.dids[user]), [painting, adopted.item]
    states = [state_of(new, item)["blobs"] for item in items]
    assert {new.sync("painting", item).status for item in items} == {"synced"}
    assert statuses(sync_batch(new, "painting", items, subject=user)) == {"synced": 2}
    run_backfill(new, owners=[user])
    with open_audit(new.services, [PAINTING], repair=True) as audit:
        assert not audit.of_account(account(new, user)).audit.findings
    assert new.revision(new.dids[user]) == revision
    assert [state_of(new, item)["blobs"] for item in items] == states


def test_new_and_changed_images_use_the_new_recipe(old: World, new: World, user: str) -> None:
    """Without a request: the thumbnail of a changed image is made anyway."""
    painting = publish(old, user)
    slug = old.platform.document("painting", painting)["slug"]
    new.platform.store(f"{slug}.png", pixel_art((9, 9)), user)
    assert new.sync("painting", painting).status == "synced"
    assert size_of(new, user, painting) == size_of(new, user, publish(new, user)) == SECOND.size


def test_thumbnails_are_made_again_on_request(old: World, new: World, user: str) -> None:
    """Of synced items and of adopted ones; key and time of each record stay, the state is clean."""
    adopted, unread, painting = older(old, user), older(old, user), publish(old, user)
    assert adopted.sync() == "synced"
    items = [adopted.item, unread.item, painting]
    before = [old.record("painting", item) for item in (adopted.item, painting)]
    assert remake(new, user) == {"synced": 3}
    records = [new.record("painting", item) for item in items]
    assert [size_of(new, user, item) for item in items] == [SECOND.size] * 3
    assert [each["when"] for each in (records[0], records[2])] == [e["when"] for e in before]
    assert [state_of(new, each.item)["rkey"] for each in (adopted, unread)] == [
        adopted.key.rkey,
        unread.key.rkey,
    ]
    assert len(repo(new, user).export().records(PAINTING.nsid)) == 3
    for item in items:
        assert state_of(new, item)["status"] == "synced"
        assert not state_of(new, item).keys() & {"remake", "again", "retryAt", "lease", "adopted"}


def test_the_same_request_again_writes_nothing(old: World, new: World, user: str) -> None:
    """The thumbnails have the same bytes, whether they are cached or made again."""
    items = [publish(old, user, width) for width in (8, 9)]
    assert remake(new, user) == {"synced": 2}
    revision, published = new.revision(new.dids[user]), [state_of(new, item) for item in items]
    assert remake(new, user) == {"synced": 2}
    new.services.storage.database[COLLECTION].delete_many({})
    assert remake(new, user) == {"synced": 2}
    assert new.revision(new.dids[user]) == revision
    for item, state in zip(items, published, strict=True):
        assert state_of(new, item)["publishedAt"] == state["publishedAt"]
        assert "remake" not in state_of(new, item)


@pytest.mark.parametrize("in_batch", [False, True])
def test_marked_items_survive_everything_but_their_run(
    old: World, new: World, user: str, *, in_batch: bool
) -> None:
    """No message was ever sent: the sweep finds the item, also after a worker has died with it."""
    painting = publish(old, user)
    assert mark(new, user) == 1
    assert state_of(new, painting)["status"] == "pending"
    requeue = new.services.settings.sweep.requeue
    due = new.services.storage.backlog.find_due(PAINTING, after(requeue + 1), 1000)
    assert painting in {item.ref.id for item in due}
    with pytest.raises(WorkerKilledError):
        new.sync("painting", painting, holder="message", observer=at_step(3, kill_worker))
    assert state_of(new, painting)["remake"] is True
    if in_batch:
        set_state(new, PAINTING, painting, **state_of(new, painting) | {"lease": None})
        assert statuses(sync_batch(new, "painting", [painting], subject=user)) == {"synced": 1}
    else:
        assert new.sync("painting", painting, holder="message").status == "synced"
    assert size_of(new, user, painting) == SECOND.size
    assert "remake" not in state_of(new, painting)


@pytest.mark.parametrize("step", [1, 4])
def test_an_item_is_marked_while_a_run_holds_it(
    old: World, new: World, user: str, step: int
) -> None:
    """The run has not read the mark: it starts again when it has finished."""
    painting = publish(old, user)
    old.platform.edit("painting", painting, code="edited")

    def marking() -> None:
        assert mark(new, user) == 1

    assert new.sync("painting", painting, observer=at_step(step, marking)).status == "synced"
    assert size_of(new, user, painting) == SECOND.size
    assert "remake" not in state_of(new, painting)


@pytest.mark.parametrize("point", [("before", "apply"), ("after", "apply")])
def test_an_item_is_marked_while_a_batch_holds_it(
    old: World, new: World, user: str, point: tuple[str, str]
) -> None:
    """Before and after the write of its record."""
    painting, watch = publish(old, user), Watch(new.services)
    old.platform.edit("painting", painting, code="edited")
    watch.at(point, lambda: mark(new, user))  # type: ignore[arg-type]
    done = sync_batch(new, "painting", [painting], subject=user, batches=watch.batches)
    assert statuses(done) == {"synced": 1}
    assert size_of(new, user, painting) == SECOND.size
    assert "remake" not in state_of(new, painting)


def test_an_item_is_marked_after_a_batch_has_read_it(old: World, new: World, user: str) -> None:
    """Its claim fails, so that the document is read again."""
    painting, store = publish(old, user), new.services.sync.batches.batch_store
    (loaded,) = store.read(PAINTING, [painting])
    assert loaded
    mark(new, user)
    assert not store.claim(PAINTING, new.dids[user], [(loaded, None)], new_lease("m", 60))


def test_a_missing_file_leaves_the_record_as_it_is(old: World, new: World, user: str) -> None:
    """The failure is reported as usual; when the file is back, the thumbnail is made."""
    painting = publish(old, user)
    record = old.record("painting", painting)
    slug = old.platform.document("painting", painting)["slug"]
    image = old.platform.store(f"{slug}.png", pixel_art(), user)
    content = image.read_bytes()
    image.unlink()
    assert remake(new, user) == {"partial": 1}
    state = state_of(new, painting)
    assert state["error"]["code"] == "source_missing"  # type: ignore[index]
    assert (state["status"], state["remake"]) == ("partial", True)
    assert new.record("painting", painting) == record
    image.write_bytes(content)
    assert new.sync("painting", painting).status == "synced"
    assert size_of(new, user, painting) == SECOND.size
    assert "remake" not in state_of(new, painting)


def test_hidden_and_failed_items_are_treated_as_by_any_backfill(
    old: World, new: World, user: str
) -> None:
    """Hidden items are not touched, failed ones only with `failed`."""
    hidden, failed, removed = (publish(old, user, width) for width in (8, 9, 10))
    new.platform.edit("painting", hidden, nuked=True)
    new.platform.edit("painting", removed, nuked=True)
    new.sync("painting", removed)
    error = {"step": "write", "code": "rejected", "message": "", "permanent": True, "at": now()}
    set_state(new, PAINTING, failed, **state_of(new, failed) | {"status": "failed", "error": error})
    items = (hidden, failed, removed)
    states = [state_of(new, item) for item in items]
    assert remake(new, user) == {}
    assert [state_of(new, item) for item in items] == states
    assert remake(new, user, failed=True) == {"synced": 1}
    assert size_of(new, user, failed) == SECOND.size
    assert [state_of(new, item) for item in (hidden, removed)] == [states[0], states[2]]


def test_an_item_that_is_removed_before_it_is_marked_stays_removed(
    old: World, new: World, user: str
) -> None:
    """A wipe or `forget` may remove it after the command has selected it."""
    painting = publish(old, user)
    set_state(new, PAINTING, painting, status="removed", reason="forgotten")
    state = state_of(new, painting)
    assert new.services.storage.backlog.mark_remake(PAINTING, [painting], now()) == 0
    assert state_of(new, painting) == state


def test_an_item_that_is_hidden_after_it_was_marked_is_removed(
    old: World, new: World, user: str
) -> None:
    """And published with a new thumbnail when it is shown again."""
    painting = publish(old, user)
    mark(new, user)
    new.platform.edit("painting", painting, nuked=True)
    assert new.sync("painting", painting).status == "removed"
    assert "remake" not in state_of(new, painting)
    new.platform.edit("painting", painting, nuked=False)
    assert new.sync("painting", painting).status == "synced"
    assert size_of(new, user, painting) == SECOND.size


def test_a_dry_run_counts_the_records_and_marks_nothing(old: World, new: World, user: str) -> None:
    """Only those whose bytes would change; without reading files, all of them."""
    painting, current = publish(old, user), publish(new, user, 9)
    older(old, user)
    states = [state_of(new, item) for item in (painting, current)]
    scope = Scope([PAINTING], [user], synced=True)
    done = dry_run(new.services, scope)
    assert done.effects == {("painting", Effect.CHANGED): 2, ("painting", Effect.UNCHANGED): 1}
    assert done.fields == {("painting", "thumbnail"): 2, ("painting", "acUrl"): 1}
    quick = dry_run(new.services, scope, reads_files=False)
    assert quick.effects == {("painting", Effect.CHANGED): 3}
    assert [state_of(new, item) for item in (painting, current)] == states


def test_a_marked_item_is_no_finding_of_an_audit(old: World, new: World, user: str) -> None:
    """It waits for its run."""
    publish(old, user)
    mark(new, user)
    with open_audit(new.services, [PAINTING], repair=False) as audit:
        result = audit.of_account(account(new, user)).audit
    assert not result.findings
    (paintings,) = result.types
    assert paintings.standings == {(DocumentStanding.PENDING, "queued"): 1}


def test_no_more_items_are_marked_than_asked_for(old: World, new: World, user: str) -> None:
    """The others stay synced."""
    items = [publish(old, user, width) for width in (8, 9, 10)]
    assert mark(new, user, limit=2) == 2
    assert Counter(state_of(new, item)["status"] for item in items) == {"pending": 2, "synced": 1}


def test_a_state_that_is_no_object_can_be_marked(new: World, user: str) -> None:
    """Older programs saved null."""
    painting = save_painting(new, 8, user)
    new.platform.edit("painting", painting, atproto=None)
    assert remake(new, user) == {"synced": 1}
    assert size_of(new, user, painting) == SECOND.size


@pytest.mark.parametrize("in_batch", [False, True])
def test_a_replaced_thumbnail_leaves_the_cache(
    old: World, new: World, user: str, *, in_batch: bool
) -> None:
    """By a new recipe and by a changed image; other thumbnails stay."""
    painting, other = publish(old, user, 40), publish(old, user, 41)
    first, kept = cid_of(old, painting), cid_of(old, other)
    assert {first, kept} <= cached(new)

    def sync() -> None:
        if in_batch:
            assert statuses(sync_batch(new, "painting", [painting], subject=user)) == {"synced": 1}
        else:
            assert new.sync("painting", painting).status == "synced"

    set_state(new, PAINTING, painting, **state_of(new, painting) | {"remake": True})
    sync()
    second = cid_of(new, painting)
    assert {first, second, kept} & cached(new) == {second, kept}
    slug = new.platform.document("painting", painting)["slug"]
    new.platform.store(f"{slug}.png", pixel_art((50, 8)), user)
    sync()
    assert {first, second, kept} & cached(new) == {kept}
    assert cid_of(new, painting) in cached(new)


def test_a_thumbnail_that_cannot_be_deleted_from_the_cache_fails_no_item(
    old: World, new: World, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, and the entry expires."""
    painting = publish(old, user, 60)
    mark(new, user)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"mongodb://127.0.0.1:{unused.getsockname()[1]}"
        with MongoClient[RawDocument](url, serverSelectionTimeoutMS=50) as client:
            unavailable = ThumbnailCache(client["media"]["thumbnails"])
            engine = replace(new.services.sync.engine, thumbnails=unavailable)
            assert new.sync("painting", painting, engine=engine).status == "synced"
    assert size_of(new, user, painting) == SECOND.size
    assert "1 replaced thumbnails not deleted" in caplog.text
