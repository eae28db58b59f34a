"""Adoption: a backfill takes over the records that another program has written for its items."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from bson import ObjectId

from tests.bulk import (
    MOOD,
    account,
    assert_agreement,
    new_user,
    put_foreign,
    repo,
    save_moods,
    save_painting,
    set_state,
    state_of,
    statuses,
    sync_batch,
)
from tests.contract.proxy import Proxy, Reply
from tests.watching import Watch
from tests.world import World
from worker.core.clock import after
from worker.media import media_type

PAINTING = media_type("painting")

_POSTPONED = {"status", "error", "failingSince", "retryAt"}  # the fields of such a state


@pytest.fixture
def world(proxied: tuple[World, Proxy]) -> Iterator[World]:
    """That world, where ada is a new user and nobody else has records."""
    world, proxy = proxied
    before = dict(world.dids)
    yield world
    proxy.be_honest()
    world.dids.clear()
    world.dids.update(before)


@pytest.fixture
def user(world: World) -> str:
    """A new user of that world."""
    return new_user(world)


def backfill(
    world: World, user: str, items: list[ObjectId], name: str = "first", watch: Watch | None = None
) -> None:
    """Sync a user's moods as a batch of a backfill, named for that user; all are synced then."""
    batches = (watch or Watch(world.services)).batches
    named = f"{name}-{world.dids[user]}"
    outcomes = sync_batch(world, "mood", items, subject=user, backfill=named, batches=batches)
    assert statuses(outcomes) == {"synced": len(items)}


def foreign_mood(world: World, user: str, item: object, rkey: str, **values: object) -> str:
    """Write a record that names a mood, as another program would; return its CID."""
    return put_foreign(world, user, "mood", rkey, ref=str(item), **values)


def rkeys(world: World, user: str) -> dict[str, str]:
    """Return what each mood record of a user names, by rkey."""
    did = world.dids[user]
    there = world.services.pds.client_of(did).get_repo(did).records(MOOD.nsid)
    return {rkey: str(record.ref) for rkey, record in there.items()}


def test_a_record_that_names_an_item_gets_no_twin(world: World, user: str) -> None:
    """Whatever else it says: it keeps its key, and becomes what it should be."""
    bare, other, fresh = items = save_moods(world, 3, user)
    foreign_mood(world, user, bare, "3foreign22222")
    foreign_mood(world, user, other, "self", text="an old one", stranger={"deep": [1, 2]})
    backfill(world, user, items)
    assert {str(bare): "3foreign22222", str(other): "self"}.items() <= {
        ref: rkey for rkey, ref in rkeys(world, user).items()
    }.items()
    assert len(rkeys(world, user)) == 3
    assert world.record("mood", other).keys() == world.record("mood", fresh).keys()
    assert_agreement(world, user)


def test_a_record_that_is_right_already_is_not_written(
    world: World, user: str, watch: Watch
) -> None:
    """The state was lost: it says again where the record is, and the repo stays as it was."""
    items = save_moods(world, 3, user)
    sync_batch(world, "mood", items, subject=user)
    world.services.storage.store.collection(MOOD).update_many(
        {"user": user}, {"$unset": {"atproto": 1}}
    )
    revision = world.revision(world.dids[user])
    backfill(world, user, items, watch=watch)
    assert (watch.sizes, world.revision(world.dids[user])) == ([], revision)
    assert_agreement(world, user)


def test_of_several_records_the_oldest_is_kept_or_the_one_that_the_state_names(
    world: World, user: str
) -> None:
    """The others stay, for an audit to show."""
    legacy, fresh = items = save_moods(world, 2, user)
    for rkey in ("3aaa222222222", "3bbb222222222", "3ccc222222222"):
        foreign_mood(world, user, legacy, rkey)
        foreign_mood(world, user, fresh, rkey.replace("222222222", "333333333"))
    set_state(world, MOOD, legacy, rkey="3bbb222222222")
    backfill(world, user, items)
    assert state_of(world, legacy)["rkey"] == "3bbb222222222"
    assert state_of(world, fresh)["rkey"] == "3aaa333333333"
    assert len(rkeys(world, user)) == 6


@pytest.mark.parametrize(
    "state",
    [
        {"status": "failed", "rkey": "3reserved2222"},
        {"status": "skipped", "reason": "no_account"},
    ],
    ids=["reserved a key in vain", "waited for an account"],
)
def test_record_is_adopted_whatever_became_of_an_earlier_run(
    world: World, user: str, state: dict[str, object]
) -> None:
    """The item has no record yet: its reserved key and the old reason are dropped."""
    (item,) = items = save_moods(world, 1, user)
    where = {"repo": world.dids[user]} if "rkey" in state else {}
    set_state(world, MOOD, item, **state, **where)
    foreign_mood(world, user, item, "3foreign22222")
    backfill(world, user, items)
    assert rkeys(world, user) == {"3foreign22222": str(item)}
    assert "reason" not in state_of(world, item)
    assert_agreement(world, user)


def test_ids_of_all_kinds_are_recognised(world: World, user: str) -> None:
    """A record names an `_id` as text, whatever it is."""
    ids: list[object] = [7, "seven", f"text {user}"]
    documents = world.services.storage.store.collection(MOOD)
    for number, raw in enumerate(ids):
        documents.insert_one({"_id": raw, "mood": "calm", "when": after(0), "user": user})
        foreign_mood(world, user, raw, f"3foreign2222{number + 2}")
    backfill(world, user, ids)  # type: ignore[arg-type]
    assert_agreement(world, user)
    assert len(rkeys(world, user)) == 3


def test_records_that_name_none_of_the_users_items_are_left_alone(world: World, user: str) -> None:
    """Without `ref`, with a strange one, naming another user's item or another type's."""
    (mine,) = items = save_moods(world, 1, user)
    (bobs,) = save_moods(world, 1, world.bob)
    painting = save_painting(world, 9, user)
    strange: list[object] = [5, None, "", "x" * 600, "\0", {"$link": 1}, [str(mine)]]
    refs = [*strange, str(bobs), str(painting), str(ObjectId())]
    for number, ref in enumerate(refs):
        put_foreign(world, user, "mood", f"strange-{number}", ref=ref)
    put_foreign(world, user, "mood", "without", text="a post")
    backfill(world, user, items)
    assert len(rkeys(world, user)) == len(refs) + 2
    assert state_of(world, bobs) == world.platform.state("painting", painting) == {}


def test_items_that_the_backfill_does_not_cover_are_left_alone(world: World, user: str) -> None:
    """Wiped, published, in another repo or held by a run: the audit reports these."""
    wiped, settled, moved, held, wanted = save_moods(world, 5, user)
    gone = {"status": "removed", "reason": "wiped", "repo": world.dids[user]}
    set_state(world, MOOD, wiped, **gone, rkey="3w22222222222")
    sync_batch(world, "mood", [settled], subject=user)
    set_state(world, MOOD, moved, repo=world.dids[world.bob], rkey="3bobs22222222")
    lease = {"token": "t", "holder": "another", "until": after(60)}
    set_state(world, MOOD, held, lease=lease, attemptedAt=after(0), retryAt=after(60))
    others = [wiped, settled, moved, held]
    before = [state_of(world, item) for item in others]
    for number, item in enumerate(others):
        foreign_mood(world, user, item, f"3foreign2222{number + 2}")
    backfill(world, user, [wanted])
    assert [state_of(world, item) for item in others] == before


@pytest.mark.parametrize("flag", ["nuked", "deleted"])
def test_the_record_of_a_hidden_item_is_adopted_to_be_removed(
    world: World, user: str, flag: str
) -> None:
    """It is due at once."""
    hidden, wanted = save_moods(world, 2, user)
    world.platform.edit("mood", hidden, **{flag: True})
    foreign_mood(world, user, hidden, "3foreign22222")
    backfill(world, user, [wanted])
    state = state_of(world, hidden)
    assert (state["rkey"], state["status"]) == ("3foreign22222", "pending")
    assert world.sync("mood", hidden).status == "removed"


def test_a_key_that_another_item_holds_is_taken(world: World, user: str) -> None:
    """Two items, one record: it is that item's which it names, and the other gets its own."""
    holder, claimant, third = items = save_moods(world, 3, user)
    foreign_mood(world, user, claimant, "3foreign22222")
    foreign_mood(world, user, third, "3third2222222")
    set_state(world, MOOD, holder, repo=world.dids[user], rkey="3foreign22222")
    backfill(world, user, items)
    keys = [state_of(world, item)["rkey"] for item in items]
    assert (keys[1], keys[2], len(set(keys))) == ("3foreign22222", "3third2222222", 3)
    assert_agreement(world, user)


def test_a_backfill_reads_each_repo_once(world: World, user: str, watch: Watch) -> None:
    """The next one reads again; a batch without a backfill does not."""
    items = save_moods(world, 6, user)
    backfill(world, user, items[:2], watch=watch)
    backfill(world, user, items[2:4], watch=watch)
    assert watch.count["export"] == 1
    backfill(world, user, items[4:], name="second", watch=watch)
    assert watch.count["export"] == 2
    sync_batch(world, "mood", items, subject=user, batches=watch.batches)
    assert watch.count["export"] == 2


def test_batches_at_once_wait_for_the_one_that_reads(world: World, user: str, watch: Watch) -> None:
    """None writes before the account's records are adopted."""
    items = save_moods(world, 8, user)
    foreign_mood(world, user, items[7], "3foreign22222")
    with ThreadPoolExecutor(4) as pool:
        pairs = [items[n : n + 2] for n in range(0, 8, 2)]
        list(pool.map(lambda pair: backfill(world, user, pair, "at once", watch), pairs))
    assert watch.count["export"] == 1
    assert len(rkeys(world, user)) == 8
    assert_agreement(world, user)


def test_nothing_is_written_while_the_repo_cannot_be_read(
    world: World, user: str, proxied: tuple[World, Proxy], watch: Watch
) -> None:
    """The items are postponed without an attempt, and the next try reads the repo again."""
    proxy = proxied[1]
    items = save_moods(world, 2, user)
    foreign_mood(world, user, items[0], "3foreign22222")
    for reply in (Reply(500, b"{}"), Reply(200, b"no CAR file"), Reply(200, b"", cut=True)):
        proxy.answer(reply, "getRepo")
        named = f"first-{world.dids[user]}"
        outcomes = sync_batch(
            world, "mood", items, subject=user, backfill=named, batches=watch.batches
        )
        assert statuses(outcomes) == {"pending": 2}
    proxy.be_honest()
    assert [set(state_of(world, item)) for item in items] == [_POSTPONED] * 2
    assert watch.sizes == []
    backfill(world, user, items, watch=watch)
    assert set(rkeys(world, user)) > {"3foreign22222"}
    assert_agreement(world, user)


def test_the_guests_account_is_read_as_any_other(world: World) -> None:
    """Its items have no user at all."""
    item = save_painting(world, 9, None)
    put_foreign(world, "art-guest", "painting", "3foreign22222", ref=str(item), slug="old")
    sync_batch(world, "painting", [item], subject="art-guest", backfill=f"guests {item}")
    assert str(world.platform.state("painting", item)["uri"]).endswith("/3foreign22222")
    assert account(world, "art-guest").did == repo(world, "art-guest").did
    assert_agreement(world, "art-guest")
