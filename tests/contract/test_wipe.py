"""Wiping an account: its records go, the states say so, and nothing else is touched."""

from __future__ import annotations

import pytest

from tests.bulk import KINDS, repo
from tests.contract.wiping import (
    WIPED,
    all_records,
    assert_true_states,
    essence,
    prepared,
    published,
    published_moods,
    put_strange,
    records,
    swept,
    told,
    wipe,
)
from tests.world import World
from worker.core.errors import AccountError
from worker.operations.backfill.planner import BackfillPlanner, Scope
from worker.operations.erase.report import WipePreview
from worker.pds.record_deleter import BATCH

MOOD = "computer.aesthetic.mood"
POST = "app.bsky.feed.post"


@pytest.fixture
def world(new_world: World) -> World:
    """Return a world without documents, whose users have empty repos."""
    return new_world


def test_a_survey_counts_and_changes_nothing(world: World) -> None:
    """Records of our collections, whoever wrote them, and the states that name them."""
    published(world, world.ada)
    published_moods(world, world.ada, 3)
    put_strange(repo(world, world.ada), MOOD, text="not ours")
    put_strange(repo(world, world.ada), POST, text="hello")
    before = world.revision(world.dids[world.ada]), world.platform.states("mood")
    survey = prepared(world, world.ada).preview()
    assert survey["mood"] == WipePreview(records=5, states=4)
    assert {survey[name] for name in ("painting", "piece", "kidlisp")} == {WipePreview(1, 1)}
    assert (world.revision(world.dids[world.ada]), world.platform.states("mood")) == before


def test_all_records_of_an_account_go_and_their_states_are_cleared(world: World) -> None:
    """What stays of a state is where the record was, for a restore."""
    items = published(world, world.ada)
    keys = {name: world.platform.state(name, item) for name, item in items.items()}
    wiping = wipe(world, world.ada)
    assert all_records(world, world.ada) == {kind.name: {} for kind in KINDS}
    for name, item in items.items():
        assert told(wiping, name) == (1, 1, 0)
        key = {field: keys[name][field] for field in ("repo", "did", "rkey")}
        assert essence(world.platform.state(name, item)) == WIPED | key
    assert prepared(world, world.ada).preview() == {kind.name: WipePreview(0, 0) for kind in KINDS}


def test_nothing_else_is_touched(world: World) -> None:
    """Other collections, other types, other accounts: their records and their states."""
    items, others = published(world, world.ada), published(world, world.bob)
    guests = published(world, None)
    post = put_strange(repo(world, world.ada), POST, text="hello")
    before = all_records(world, world.bob), all_records(world, "art-guest")
    states = [world.platform.state(name, item) for name, item in (others | guests).items()]
    wiping = wipe(world, world.ada, "mood", "piece")
    assert set(wiping.done) == {"mood", "piece"}
    left = all_records(world, world.ada)
    assert [len(left[kind.name]) for kind in KINDS] == [1, 0, 0, 1]
    assert set(records(world, world.ada, POST)) == {post.rkey}
    assert (all_records(world, world.bob), all_records(world, "art-guest")) == before
    again = [world.platform.state(name, item) for name, item in (others | guests).items()]
    assert again == states
    assert world.platform.state("kidlisp", items["kidlisp"])["status"] == "synced"


def test_guests_have_an_account_as_well(world: World) -> None:
    """Their documents name no user, an empty one, none at all, or the guests' subject."""
    items = published(world, None)
    for name, value in (("piece", ""), ("kidlisp", "art-guest")):
        world.platform.edit(name, items[name], user=value)
        assert world.sync(name, items[name]).status == "synced"
    world.services.storage.database["paintings"].update_one(
        {"_id": items["painting"]}, {"$set": {"user": None}}
    )
    wiping = wipe(world, "art-guest")
    for name, item in items.items():
        assert told(wiping, name) == (1, 1, 0)
        assert world.platform.state(name, item)["reason"] == "wiped"


def test_nuked_items_stay_nuked(world: World) -> None:
    """One that was taken down is left as it is; one whose record is still up loses it."""
    down = world.platform.save_mood("down", world.ada)
    up = world.platform.save_mood("up", world.ada)
    for item in (down, up):
        world.sync("mood", item)
        world.platform.edit("mood", item, nuked=True)
    world.sync("mood", down)
    before = world.platform.state("mood", down)
    assert told(wipe(world, world.ada), "mood") == (1, 1, 0)
    assert world.platform.state("mood", down) == before
    assert world.platform.state("mood", up)["status"] == "removed"
    assert world.sync("mood", up).status == "removed"
    assert records(world, world.ada, MOOD) == {}


def test_what_others_wrote_in_our_collections_goes_too(world: World) -> None:
    """A document that such a record names in `ref` is cleared, though it had no state."""
    ada = repo(world, world.ada)
    named = world.platform.save_mood("named", world.ada)
    foreign = world.platform.save_mood("bob's", world.bob)
    nulled = world.platform.save_mood("null", world.ada)
    world.platform.edit("mood", nulled, atproto=None)
    put_strange(ada, MOOD, "a-named", ref=str(named))
    put_strange(ada, MOOD, "b-twin", ref=str(named))
    put_strange(ada, MOOD, "c-foreign", ref=str(foreign))
    put_strange(ada, MOOD, "d-null", ref=str(nulled))
    for rkey, ref in (("e", "nobody"), ("f", 7), ("g", ""), ("h", None)):
        put_strange(ada, MOOD, rkey, ref=ref)
    assert told(wipe(world, world.ada), "mood") == (8, 2, 0)
    key = {"repo": ada.did, "did": ada.did, "rkey": "a-named"}
    assert essence(world.platform.state("mood", named)) == WIPED | key
    assert world.platform.state("mood", nulled)["rkey"] == "d-null"
    assert world.platform.state("mood", foreign) == {}


def test_a_twin_is_no_reason_to_clear_the_state_of_the_other(world: World) -> None:
    """The document names its own record, which is still there when the twin is gone."""
    (mood,) = published_moods(world, world.ada, 1)
    ada = repo(world, world.ada)
    for number in range(BATCH):
        put_strange(ada, MOOD, f"1-{number:03}", ref=str(mood))
    steps = prepared(world, world.ada).run()
    assert next(steps) == BATCH
    assert_true_states(world, world.ada)
    assert list(steps) == [1]
    assert_true_states(world, world.ada)


def test_documents_of_older_programs_are_cleared(world: World) -> None:
    """They name an rkey and no repo: the record is in their owner's, or nowhere any more."""
    ada = repo(world, world.ada)
    there, gone, foreign = (
        world.platform.save_mood("old", user) for user in (world.ada, world.ada, world.bob)
    )
    put_strange(ada, MOOD, "3kold", text="old")
    for item, rkey in ((there, "3kold"), (gone, "3kgone"), (foreign, "3kold")):
        world.platform.edit("mood", item, atproto={"rkey": rkey})
    assert told(wipe(world, world.ada), "mood") == (1, 2, 0)
    assert world.platform.state("mood", there)["status"] == "removed"
    assert world.platform.state("mood", gone)["status"] == "removed"
    assert world.platform.state("mood", foreign) == {"rkey": "3kold"}


def test_an_item_that_was_never_published_is_left_alone(world: World) -> None:
    """Pending or failed, it has no record that could have been removed."""
    failed = world.platform.save_mood("", world.ada)
    unseen = world.platform.save_mood("new", world.ada)
    world.sync("mood", failed)
    before = world.platform.states("mood")
    assert told(wipe(world, world.ada), "mood") == (0, 0, 0)
    assert world.platform.states("mood") == before
    assert before[unseen] == {}


def test_an_item_that_is_another_users_by_now_is_synced_anew(world: World) -> None:
    """Its record goes with the account that has it; the sweep has it published to the other."""
    moved = published_moods(world, world.ada, 1)[0]
    world.platform.edit("mood", moved, user=world.bob)
    before = world.platform.state("mood", moved)
    assert told(wipe(world, world.bob), "mood") == (0, 0, 0)
    assert world.platform.state("mood", moved) == before
    assert told(wipe(world, world.ada), "mood") == (1, 0, 0)
    found = swept(world)
    assert [ref.id for ref in found] == [moved]
    assert world.sync("mood", moved).status == "synced"
    assert list(records(world, world.bob, MOOD)) == [world.platform.state("mood", moved)["rkey"]]


def test_several_hundred_records_are_wiped_in_batches(world: World) -> None:
    """Told as they go, so that a bar can be shown."""
    published_moods(world, world.ada, 330)
    wiping = prepared(world, world.ada)
    assert list(wiping.run()) == [100, 100, 100, 30]
    assert told(wiping, "mood") == (330, 330, 0)
    assert records(world, world.ada, MOOD) == {}
    assert_true_states(world, world.ada)


def test_neither_sweep_nor_backfill_publishes_what_was_wiped(world: World) -> None:
    """Not even what was edited before, its message lost; an edit that is enqueued does."""
    moods = published_moods(world, world.ada, 3)
    world.platform.edit("mood", moods[0], mood="edited before")
    wipe(world, world.ada)
    assert swept(world) == []
    scope = Scope(KINDS, [world.ada], failed=True)
    assert BackfillPlanner.of(world.services).preview(scope).total == 0
    old = world.platform.state("mood", moods[1])
    world.platform.edit("mood", moods[1], mood="edited after")
    assert world.sync("mood", moods[1]).status == "synced"
    assert list(records(world, world.ada, MOOD)) == [old["rkey"]]
    assert_true_states(world, world.ada)


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("password", "not it", "the stored password is refused"),
        ("did", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "there is no account"),
    ],
)
def test_wipe_of_an_unusable_account_removes_and_clears_nothing(
    world: World, field: str, value: str, fault: str
) -> None:
    """A wrong directory would also report a missing account: no state is cleared for that."""
    moods = published_moods(world, world.ada, 2)
    users = world.services.storage.database["users"]
    usable = users.find_one({"_id": world.ada})
    users.update_one({"_id": world.ada}, {"$set": {f"atproto.{field}": value}})
    with pytest.raises(AccountError, match=fault):
        wipe(world, world.ada)
    users.replace_one({"_id": world.ada}, usable or {})
    assert {world.platform.state("mood", mood)["status"] for mood in moods} == {"synced"}
    assert len(records(world, world.ada, MOOD)) == 2
