"""Batches whose PDS, Redis or account fails them in the middle: nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

import pytest
from bson import ObjectId
from celery.exceptions import SoftTimeLimitExceeded

from tests.bulk import (
    MOOD,
    account,
    assert_agreement,
    error_of,
    new_user,
    repo,
    save_moods,
    save_paintings,
    set_password,
    set_state,
    state_of,
    statuses,
    sync_batch,
)
from tests.contract.pds_calls import deactivate
from tests.contract.pds_faults import FAULTS, PAGES, SLOW_DOWN
from tests.contract.proxy import Proxy, Reply
from tests.watching import Point, Watch
from tests.world import World
from worker.core.records import Write
from worker.core.settings import Settings
from worker.pds.account_cache import AccountCache
from worker.services import build

REFUSED = Reply(400, b'{"error":"InvalidRequest","message":"not this one"}')


@pytest.fixture
def world(proxied: tuple[World, Proxy]) -> World:
    """That world, ada logged in."""
    world = proxied[0]
    sync_batch(world, "mood", save_moods(world, 1))
    return world


def refuse_writes_of(
    watch: Watch, proxy: Proxy, culprits: Sequence[ObjectId], reply: Reply
) -> None:
    """Have the PDS answer so to every chunk with one of these items, and to each alone."""
    named = {str(culprit) for culprit in culprits}

    def judge(writes: Sequence[Write]) -> None:
        proxy.be_honest()
        if named & {str((write.value or {}).get("ref")) for write in writes}:
            proxy.answer(reply, "applyWrites")
        proxy.answer(reply, "putRecord")

    watch.judge = judge


@pytest.mark.parametrize(
    ("reply", "status"), [(REFUSED, "failed"), (FAULTS["500"], "pending")], ids=["400", "500"]
)
def test_a_record_that_the_pds_refuses_is_found_by_halving(
    world: World, watch: Watch, proxy: Proxy, reply: Reply, status: str
) -> None:
    """Two of 16: each stands alone in the end, with the answer that it gets by itself."""
    items = save_moods(world, 16)
    culprits = [items[2], items[11]]
    refuse_writes_of(watch, proxy, culprits, reply)
    outcomes = sync_batch(world, "mood", items, batches=watch.batches)
    proxy.be_honest()
    assert statuses(outcomes) == {"synced": 14, status: 2}
    assert {error_of(world, "mood", item)[:2] for item in culprits} == {(status, "write")}
    assert_agreement(world)
    assert statuses(sync_batch(world, "mood", culprits)) == {"synced": 2}
    assert_agreement(world)


@pytest.mark.parametrize("status", PAGES)
def test_pages_of_a_gateway_for_some_writes_hold_up_no_other(
    world: World, proxy: Proxy, status: int
) -> None:
    """Two of 16 are blocked in each call: the others are published, and nothing is parked."""
    items = save_moods(world, 16)
    culprits = [items[2], items[11]]
    proxy.answer(PAGES[status], about="|".join(map(str, culprits)))
    expected = "failed" if status == 413 else "pending"
    assert statuses(sync_batch(world, "mood", items)) == {"synced": 14, expected: 2}
    assert proxy.count("applyWrites") <= 20
    for item in culprits:
        assert state_of(world, item)["attempts"] == 1
    proxy.be_honest()
    assert statuses(sync_batch(world, "mood", culprits)) == {"synced": 2}
    assert_agreement(world)


@pytest.mark.parametrize("status", [403, 503])
def test_page_of_a_gateway_for_one_record_that_is_read_holds_up_no_other(
    world: World, proxy: Proxy, status: int
) -> None:
    """An edit reads the record before the write."""
    items = save_moods(world, 8)
    sync_batch(world, "mood", items)
    for item in items:
        world.platform.edit("mood", item, mood="edited")
    proxy.answer(PAGES[status], "getRecord", about=str(state_of(world, items[3])["rkey"]))
    assert statuses(sync_batch(world, "mood", items)) == {"synced": 7, "pending": 1}
    assert error_of(world, "mood", items[3]) == ("pending", "read", f"pds_{status}")
    proxy.be_honest()
    assert statuses(sync_batch(world, "mood", items)) == {"synced": 8}
    assert_agreement(world)


@pytest.mark.parametrize("method", ["applyWrites", "getLatestCommit", ""])
@pytest.mark.parametrize("status", [403, 503])
def test_pages_of_a_gateway_for_all_calls_use_few(
    world: World, proxy: Proxy, method: str, status: int
) -> None:
    """Three items are tried alone, the others wait; nothing is parked, and one attempt is used."""
    items = save_moods(world, 16)
    proxy.forget_calls()
    proxy.answer(PAGES[status], method)
    synced = {"synced": 3} if method else {}
    expected = {**synced, "pending": 16 - sum(synced.values())}
    assert statuses(sync_batch(world, "mood", items)) == expected
    assert proxy.count() <= 60
    proxy.be_honest()
    assert statuses(sync_batch(world, "mood", items)) == {"synced": 16}
    assert_agreement(world)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_write_that_was_carried_out_after_all_is_not_repeated(
    world: World, proxy: Proxy, fault: str
) -> None:
    """New items and edited ones: the repo is asked, and everything is there."""
    old, new = save_moods(world, 4), save_moods(world, 4)
    sync_batch(world, "mood", old)
    for item in old[:3]:
        world.platform.edit("mood", item, mood="edited")
    proxy.forget_calls()
    proxy.answer(replace(FAULTS[fault], carried_out=True), "applyWrites")
    assert statuses(sync_batch(world, "mood", old + new)) == {"synced": 8}
    assert (proxy.count("applyWrites"), proxy.count("putRecord")) == (1, 0)
    assert world.record("mood", old[0])["text"] == "edited"
    assert_agreement(world)


@pytest.mark.parametrize("fault", ["500", "a cut connection"])
def test_a_pds_that_carries_out_no_batch_is_not_hammered(
    world: World, proxy: Proxy, fault: str
) -> None:
    """Some items are tried alone; when nothing at all is written, the others wait."""
    items = save_moods(world, 16)
    proxy.forget_calls()
    proxy.answer(FAULTS[fault], "applyWrites")
    assert statuses(sync_batch(world, "mood", items)) == {"synced": 3, "pending": 13}
    assert proxy.count("applyWrites") <= 40
    proxy.be_honest()
    assert statuses(sync_batch(world, "mood", items)) == {"synced": 16}
    assert_agreement(world)


@pytest.mark.parametrize("carried_out", [False, True], ids=["ignored", "carried out"])
def test_while_the_pds_is_away_items_wait_and_heal_later(
    world: World, watch: Watch, proxy: Proxy, *, carried_out: bool
) -> None:
    """The attempt is counted; the next batch finds what the last one may have done."""
    items = save_moods(world, 5)
    away = replace(FAULTS["a cut connection"], carried_out=carried_out)
    watch.at(("before", "apply"), lambda: proxy.answer(away))
    outcomes = sync_batch(world, "mood", items, batches=watch.batches)
    assert statuses(outcomes) == {"pending": 5}
    for item in items:
        assert error_of(world, "mood", item) == ("pending", "read", "pds_unreachable")
        assert state_of(world, item)["attempts"] == 1
        assert isinstance(state_of(world, item)["retryAt"], datetime)
    assert watch.count["apply"] == 1
    proxy.be_honest()
    world.platform.edit("mood", items[0], mood="edited")
    assert statuses(sync_batch(world, "mood", items)) == {"synced": 5}
    assert_agreement(world)


UNREADABLE = {
    "the PDS is down": (Reply(503, b"{}"), "pds_503"),
    "the account is deactivated": (Reply(400, b'{"error":"RepoDeactivated"}'), None),
    "the PDS asks to wait": (SLOW_DOWN, "rate_limited"),
}


@pytest.mark.parametrize("backfill", [None, "backfill"])
@pytest.mark.parametrize(("reply", "code"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_batch_that_cannot_start_is_recorded_on_its_documents(
    world: World, proxy: Proxy, reply: Reply, code: str | None, backfill: str | None
) -> None:
    """The message may be lost now: the sweep finds the items. No attempt was made."""
    user = new_user(world)
    new, seen, skipped = save_moods(world, 3, user)
    set_state(world, MOOD, seen, status="pending", attempts=4)
    set_state(world, MOOD, skipped, status="skipped", reason="no_account")
    proxy.answer(reply, "getRepo")
    items, named = [new, seen, skipped], backfill and f"{backfill}-{user}"
    outcomes = sync_batch(world, "mood", items, subject=user, backfill=named)
    assert statuses(outcomes) == {"pending": 3}
    states = [state_of(world, item) for item in items]
    assert all(isinstance(state["retryAt"], datetime) for state in states)
    assert [state.get("attempts") for state in states] == [None, 4, None]
    assert [state["status"] for state in states] == ["pending", "pending", "skipped"]
    assert code in {None, error_of(world, "mood", new)[2]}
    proxy.be_honest()
    AccountCache(world.services.storage.redis).invalidate(world.dids[user])
    assert statuses(sync_batch(world, "mood", items, subject=user)) == {"synced": 3}


def test_a_document_that_cannot_be_saved_keeps_no_other_from_being_postponed(
    world: World, proxy: Proxy
) -> None:
    """The schema validator rejects it, as it is: its state is no object."""
    user = new_user(world)
    first, bad, last = moods = save_moods(world, 3, user)
    documents = world.services.storage.store.collection(MOOD)
    documents.update_one({"_id": bad}, {"$set": {"atproto": None, "bad": True}})
    database = world.services.storage.database
    proxy.answer(Reply(503, b"{}"), "getRepo")
    database.command("collMod", MOOD.collection, validator={"bad": {"$exists": False}})
    try:
        assert statuses(sync_batch(world, "mood", moods, subject=user)) == {"pending": 3}
    finally:
        database.command("collMod", MOOD.collection, validator={})
    proxy.be_honest()
    for mood in (first, last):
        assert error_of(world, "mood", mood)[2] == "pds_503"
    assert documents.find_one({"_id": bad}, {"atproto": 1}) == {"_id": bad, "atproto": None}


def test_a_batch_that_takes_too_long_to_start_is_recorded_on_its_documents(
    world: World, watch: Watch
) -> None:
    """Its task ends, and with it its message."""
    user = new_user(world)
    items = save_moods(world, 2, user)

    def take_long() -> None:
        raise SoftTimeLimitExceeded

    watch.at(("before", "export"), take_long)
    outcomes = sync_batch(world, "mood", items, subject=user, batches=watch.batches)
    assert statuses(outcomes) == {"pending": 2}
    for item in items:
        assert error_of(world, "mood", item)[2] == "time_limit"
        assert isinstance(state_of(world, item)["retryAt"], datetime)


@pytest.mark.parametrize("step", ["uploadBlob", "applyWrites"])
def test_after_a_429_nothing_more_is_sent(world: World, proxy: Proxy, step: str) -> None:
    """Each refused call is charged: no attempt is used up, and no item asks again before.

    Nor is a thumbnail made that would not be sent.
    """
    items = save_paintings(world, 70)
    thumbnails = world.services.storage.database["atproto_thumbnails"]
    before = thumbnails.count_documents({})
    proxy.answer(SLOW_DOWN, step)
    assert statuses(sync_batch(world, "painting", items)) == {"pending": 70}
    assert proxy.count(step) <= 8  # those that were on their way already
    assert thumbnails.count_documents({}) - before <= (64 if step == "uploadBlob" else 70)
    for item in items:
        state = world.platform.state("painting", item)
        assert (state["attempts"], state["heldUntil"]) == (0, state["retryAt"])
    proxy.be_honest()
    proxy.forget_calls()
    assert {outcome.status for outcome in sync_batch(world, "painting", items)} == {None}
    assert proxy.count() == 0


def test_commits_of_others_do_not_hinder_a_batch(world: World, watch: Watch) -> None:
    """A save is written just before each chunk: the repo is asked, and the chunk sent again."""
    items, saved = save_moods(world, 10), iter(save_moods(world, 5))
    watch.at(("before", "apply"), lambda: world.sync("mood", next(saved)), times=5)
    assert statuses(sync_batch(world, "mood", items, batches=watch.batches)) == {"synced": 10}
    assert_agreement(world)


@pytest.mark.parametrize("text", ["mood 0", "of a program that was faster"])
def test_a_record_that_appears_under_a_reserved_key_is_made_right(
    world: World, watch: Watch, text: str
) -> None:
    """With what was to be written, or something else: an old run may still have been at it."""
    items = save_moods(world, 3)

    def write_it() -> None:
        key = repo(world, world.ada).key(MOOD.nsid, str(state_of(world, items[0])["rkey"]))
        value = {"$type": MOOD.nsid, "text": text, "ref": str(items[0])}
        owner = repo(world, world.ada)
        owner.apply([Write("create", key, value)], owner.commit())

    watch.at(("before", "apply"), write_it)
    assert statuses(sync_batch(world, "mood", items, batches=watch.batches)) == {"synced": 3}
    assert world.record("mood", items[0])["text"] == "mood 0"
    assert_agreement(world)


@pytest.mark.parametrize("point", [("before", "apply"), ("after", "apply"), ("before", "upload")])
def test_a_batch_that_takes_too_long_gives_its_items_back(
    world: World, watch: Watch, point: Point
) -> None:
    """Celery interrupts it: what is not known to be done is pending, and heals."""
    items = save_paintings(world, 3)

    def time_is_up() -> None:
        raise SoftTimeLimitExceeded

    watch.at(point, time_is_up)
    outcomes = sync_batch(world, "painting", items, batches=watch.batches)
    assert statuses(outcomes) == {"pending": 3}
    assert error_of(world, "painting", items[0]) == ("pending", "run", "time_limit")
    assert statuses(sync_batch(world, "painting", items)) == {"synced": 3}
    assert_agreement(world)


def test_without_redis_items_wait(world: World) -> None:
    """There is no lock, so nothing is written."""
    nowhere = Settings.load({**world.environ, "REDIS_URL": "redis://127.0.0.1:9/0"})
    items = save_moods(world, 3)
    with closing(build(nowhere)) as services:
        outcomes = sync_batch(world, "mood", items, batches=services.sync.batches)
    assert statuses(outcomes) == {"pending": 3}
    assert error_of(world, "mood", items[0]) == ("pending", "session", "redis_unavailable")
    assert statuses(sync_batch(world, "mood", items)) == {"synced": 3}


def test_items_of_an_account_with_a_wrong_password_wait_for_it(world: World, proxy: Proxy) -> None:
    """It is parked, and not asked about again; once it is corrected, all is published."""
    subject = new_user(world)
    items = save_moods(world, 5, subject)
    good = set_password(world, subject, "wrong")
    for _ in range(2):
        outcomes = sync_batch(world, "mood", items, subject=subject, backfill=uuid4().hex)
        assert statuses(outcomes) == {"pending": 5}
    assert error_of(world, "mood", items[0]) == ("pending", "account", "wrong_password")
    assert state_of(world, items[0])["attempts"] == 0
    assert proxy.count("createSession") == 1
    set_password(world, subject, good)
    assert statuses(sync_batch(world, "mood", items, subject=subject)) == {"synced": 5}
    assert_agreement(world)


@pytest.mark.parametrize("backfill", [None, "backfill"])
def test_items_of_a_deactivated_account_wait_for_it(world: World, backfill: str | None) -> None:
    """The PDS does not even show its repo: the account is parked, and no attempt used up."""
    subject = new_user(world)
    items = save_moods(world, 3, subject)
    sync_batch(world, "mood", items[:1], subject=subject)
    owner = account(world, subject)
    session = world.services.pds.hosts.for_did(owner.did).sessions.get(owner)
    deactivate(world.services.pds.client_of(owner.did), session)
    named = backfill and uuid4().hex
    outcomes = sync_batch(world, "mood", items, subject=subject, backfill=named)
    assert [(each.error.code if each.error else "") for each in outcomes[1:]] == [
        "account_deactivated"
    ] * 2
    assert state_of(world, items[1]).get("attempts", 0) == 0
    assert not any(outcome.is_given_up for outcome in outcomes)
    del world.dids[subject]
