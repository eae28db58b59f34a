"""A dry run of a backfill says what would change, by field, and changes nothing."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import replace
from typing import NoReturn

import pytest
from bson import ObjectId

from tests.backfills import dry_run
from tests.bulk import account, new_user, save_moods, save_one_of, save_painting, set_state
from tests.contract.older_records import Older, write_older
from tests.contract.proxy import Proxy
from tests.world import World
from worker.core.clock import now
from worker.database.mongo import RawDocument
from worker.media import MEDIA_TYPES, media_type
from worker.operations.backfill.planner import Scope
from worker.operations.backfill.rehearsal_result import ReasonKey, Rehearsal
from worker.operations.backfill.rehearsed_item import Effect


def rehearsal_of(world: World, user: str, limit: int | None = None, samples: int = 0) -> Rehearsal:
    """Rehearse a backfill of one user; assert that it changes nothing."""
    before = snapshot(world, user)
    scope = Scope(list(MEDIA_TYPES.values()), [user], limit=limit)
    done = dry_run(world.services, scope, samples=samples)
    assert snapshot(world, user) == before
    return done


def snapshot(world: World, user: str) -> tuple[str, list[list[RawDocument]]]:
    """Return the revision of a user's repo, and all documents."""
    store = world.services.storage.store
    documents = [list(store.collection(kind).find()) for kind in MEDIA_TYPES.values()]
    return world.revision(account(world, user).did), documents


def edit(older: Older, **values: object) -> None:
    """Edit the document behind a record."""
    older.world.platform.edit(older.type_name, older.item, **values)


def test_items_are_counted_by_what_would_be_done(world: World) -> None:
    """Records of older programs that are right stay; others change, and their fields are named."""
    user = new_user(world)
    save_moods(world, 2, user)
    write_older(world, user, "kidlisp", save_one_of(world, "kidlisp", user)).legacy("rkey alone")
    write_older(world, user, "mood", save_one_of(world, "mood", user), mongo_id=True)
    edited = write_older(world, user, "kidlisp", save_one_of(world, "kidlisp", user))
    edit(edited.legacy("rkey alone"), source="(wipe blue)")
    hidden = write_older(world, user, "kidlisp", save_one_of(world, "kidlisp", user))
    edit(hidden.legacy("rkey alone"), nuked=True)
    done = rehearsal_of(world, user)
    assert done.effects == {
        ("mood", Effect.NEW): 2,
        ("mood", Effect.UNCHANGED): 1,
        ("kidlisp", Effect.UNCHANGED): 1,
        ("kidlisp", Effect.CHANGED): 1,
        ("kidlisp", Effect.REMOVED): 1,
    }
    assert done.fields == {("kidlisp", "source"): 1, ("kidlisp", "acUrl"): 1}
    assert not done.has_faults


def test_a_record_without_its_thumbnail_would_change(world: World) -> None:
    """One with a thumbnail of an older program would not."""
    user = new_user(world)
    for number in range(1, 3):
        write_older(world, user, "painting", save_painting(world, number, user))
    poor = write_older(world, user, "painting", save_painting(world, 3, user))
    poor.put(thumbnail=None)
    done = rehearsal_of(world, user)
    assert done.effects == {("painting", Effect.UNCHANGED): 2, ("painting", Effect.CHANGED): 1}
    # A record that is written gets the fields that older programs left out.
    assert done.fields == {("painting", "thumbnail"): 1, ("painting", "acUrl"): 1}


@pytest.mark.parametrize("number", [0, 1])
def test_the_record_that_names_the_document_is_compared(world: World, number: int) -> None:
    """The one at the key in the state if several name it; not another document's at that key."""
    user = new_user(world)
    mood, other = (write_older(world, user, "mood", each) for each in save_moods(world, 2, user))
    twin = replace(mood, key=replace(mood.key, rkey="3zzzzzzzzzz2z")).put(mood="twin")
    key = (other.key, twin.key)[number]
    set_state(world, media_type("mood"), mood.item, rkey=key.rkey)
    other.legacy("rkey alone")
    effects = [Effect.UNCHANGED, (Effect.UNCHANGED, Effect.CHANGED)[number]]
    assert rehearsal_of(world, user).effects == Counter(("mood", each) for each in effects)


def test_a_record_of_another_document_is_not_compared(world: World) -> None:
    """The key in the state is wrong, and no record names the document; one without a name may."""
    user = new_user(world)
    other = write_older(world, user, "mood", save_one_of(world, "mood", user))
    mood = save_one_of(world, "mood", user)
    set_state(world, media_type("mood"), mood, rkey=other.key.rkey)
    assert rehearsal_of(world, user).effects == {
        ("mood", Effect.NEW): 1,
        ("mood", Effect.UNCHANGED): 1,
    }
    other.put(ref=None)
    world.platform.delete("mood", other.item)
    assert rehearsal_of(world, user).effects == {("mood", Effect.CHANGED): 1}


def test_items_that_would_fail_are_counted_by_error(world: World) -> None:
    """A painting without a code waits for it."""
    user = new_user(world)
    (mood,) = save_moods(world, 1, user)
    world.platform.edit("mood", mood, mood="é" * 2501)
    painting = save_painting(world, 1, user)
    world.platform.edit("painting", painting, code=None)
    done = rehearsal_of(world, user)
    assert done.effects == {("mood", Effect.FAILED): 1, ("painting", Effect.SKIPPED): 1}
    assert done.reasons == {
        ReasonKey("mood", Effect.FAILED, "mood", "lexicon_violation"): 1,
        ReasonKey("painting", Effect.SKIPPED, "", "no_code"): 1,
    }
    assert done.has_faults


def test_items_without_their_files_are_counted_by_field(world: World) -> None:
    """They would be published, but not completely."""
    user = new_user(world)
    painting, broken = (save_painting(world, number, user) for number in (1, 2))
    world.platform.edit("painting", painting, slug="never-stored")
    slug = world.platform.document("painting", broken)["slug"]
    world.platform.store(f"{slug}.png", b"no image", user)
    done = rehearsal_of(world, user)
    assert done.effects == {("painting", Effect.PARTIAL): 2}
    assert done.reasons == {
        ReasonKey("painting", Effect.PARTIAL, "thumbnail", "source_missing"): 1,
        ReasonKey("painting", Effect.PARTIAL, "thumbnail", "image_unreadable"): 1,
    }
    assert done.has_faults


def fail(*_: object) -> NoReturn:
    """Raise the error of a bug."""
    raise ZeroDivisionError


def test_the_traceback_of_a_bug_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Its item fails, and the dry run goes on."""
    user = new_user(world)
    (mood,) = save_moods(world, 1, user)
    save_one_of(world, "kidlisp", user)
    broken = replace(media_type("mood"), build=fail)
    done = dry_run(world.services, Scope([broken, media_type("kidlisp")], [user]))
    assert done.effects == {("mood", Effect.FAILED): 1, ("kidlisp", Effect.NEW): 1}
    assert f"unexpected error with mood {mood}" in caplog.text
    assert "in fail\n" in caplog.text


def test_as_many_samples_as_wanted_are_kept_of_each_type_and_effect(world: World) -> None:
    """With the record as it would be written, and the blobs that it needs."""
    user = new_user(world)
    save_moods(world, 4, user)
    painting = save_painting(world, 1, user)
    done = rehearsal_of(world, user, samples=2)
    assert [sample.type for sample in done.samples] == ["painting", "mood", "mood"]
    sample = done.samples[0]
    assert (sample.id, sample.effect, sample.uploads) == (painting, Effect.NEW, ("thumbnail",))
    assert sample.record
    world.sync("painting", painting)
    assert world.record("painting", painting) == sample.record


def test_a_limit_is_kept(world: World) -> None:
    """As many items are compared as the backfill would enqueue."""
    user = new_user(world)
    save_moods(world, 3, user)
    assert rehearsal_of(world, user, limit=2).effects == {("mood", Effect.NEW): 2}


def test_an_account_whose_repo_cannot_be_read_is_named(world: World) -> None:
    """The items of others are compared all the same."""
    user, other = new_user(world), new_user(world)
    save_moods(world, 1, user)
    save_moods(world, 1, other)
    users = world.services.storage.database["users"]
    users.update_one({"_id": user}, {"$set": {"atproto.did": f"did:plc:{ObjectId()}"}})
    done = dry_run(world.services, Scope([media_type("mood")], [user, other]))
    assert done.effects == {("mood", Effect.NEW): 1, ("mood", Effect.PENDING): 1}
    assert list(done.accounts) == [user]
    assert done.unreadable == 1
    assert done.reasons == {ReasonKey("mood", Effect.PENDING, "", "did_not_found"): 1}


def test_a_published_item_is_not_in_a_backfill(world: World) -> None:
    """It is what an audit compares."""
    user = new_user(world)
    (mood,) = save_moods(world, 1, user)
    set_state(world, media_type("mood"), mood, status="synced", rkey="3jzfcijpj2z2a")
    assert rehearsal_of(world, user).effects == {}


def test_the_pds_gets_one_call_for_each_account(proxied: tuple[World, Proxy], proxy: Proxy) -> None:
    """It reads the repo: there is no login, and no call for each item."""
    world, _ = proxied
    user, other = new_user(world), new_user(world)
    for owner in (user, other):
        save_moods(world, 120, owner)
        save_painting(world, 8, owner)
        save_one_of(world, "piece", owner)
    proxy.forget_calls()
    done = dry_run(world.services, Scope(list(MEDIA_TYPES.values()), [user, other]))
    assert done.items_of(Effect.NEW) == 2 * 122
    assert [call.nsid for call in proxy.calls] == ["com.atproto.sync.getRepo"] * 2
    assert not any(call.authorization for call in proxy.calls)


def test_memory_does_not_grow_with_the_number_of_items(world: World) -> None:
    """Neither items nor records are held all together."""
    user = new_user(world)
    moods = world.services.storage.store.collection(media_type("mood"))
    peaks = []
    for count in (500, 2000):
        when = now()
        moods.insert_many(
            {"_id": ObjectId(), "user": user, "when": when, "mood": "x" * 3000}
            for _ in range(count)
        )
        tracemalloc.start()
        done = dry_run(world.services, Scope([media_type("mood")], [user]), samples=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert done.effects == {("mood", Effect.NEW): 2500}
    # The texts of the 2,000 additional moods have 6 MB, and their records as many.
    assert peaks[1] - peaks[0] < 1_000_000
