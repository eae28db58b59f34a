"""Forgetting an account that is being erased: nothing of it stays, and what has to is told."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from redis import Redis

from tests.bulk import KINDS, account, repo, set_password
from tests.contract.pds_calls import deactivate, post
from tests.contract.wiping import (
    all_records,
    essence,
    forgetter,
    pds_away,
    published,
    published_moods,
    put_strange,
    settle,
    wipe,
)
from tests.world import World
from worker.core.errors import AccountError, TransientError
from worker.core.secrets import Secret
from worker.database.removals import Removal, Removals
from worker.dev.stack import Stack
from worker.media import media_type
from worker.operations.erase.forget import ErasureRun
from worker.operations.erase.report import AT_WORK

MOOD = media_type("mood")
FORGOTTEN = {"status": "removed", "reason": "forgotten"}


@pytest.fixture
def world(new_world: World) -> World:
    """Return a world without documents, whose users have empty repos."""
    return new_world


def forget(world: World, name: str) -> ErasureRun:
    """Forget a subject to the end."""
    forgetting = forgetter(world.services).prepare(name)
    sum(forgetting.run())
    return forgetting


def states(world: World, subject: str) -> list[object]:
    """Return the states of all documents of a subject, without the time of their last change."""
    found = [
        document
        for kind in KINDS
        for document in world.services.storage.database[kind.collection].find({"user": subject})
    ]
    return [essence(document.get("atproto", {})) for document in found]  # type: ignore[arg-type]


def in_redis(world: World, did: str) -> list[bytes]:
    """Return the names of what Redis keeps of an account."""
    with Redis.from_url(world.environ["REDIS_URL"]) as redis:
        return list(redis.scan_iter(f"media-atproto:*{did}*"))


def test_nothing_of_a_subject_stays(world: World) -> None:
    """Records, states of every kind, thumbnails, the session, removals that wait."""
    items, others = published(world, world.ada), published(world, world.bob)
    world.sync("mood", world.platform.save_mood("", world.ada))  # failed
    world.platform.save_mood("never seen", world.ada)
    nulled = world.platform.save_mood("null", world.ada)
    world.platform.edit("mood", nulled, atproto=None)
    nuked = world.platform.save_mood("nuked", world.ada)
    world.sync("mood", nuked)
    world.platform.edit("mood", nuked, nuked=True)
    world.sync("mood", nuked)
    put_strange(repo(world, world.ada), MOOD.nsid, ref="nobody")
    waiting = Removals(world.services.storage.database)
    for user in (world.ada, world.bob, f"{world.ada}:2"):
        waiting.postpone(
            Removal("mood", user, id="1"), TransientError("x", step="s", code="c"), 1, None
        )
    world.services.sync.sweep.changed_accounts.mark_items(10)
    before = all_records(world, world.bob), states(world, world.bob)

    footprint = forgetter(world.services).prepare(world.ada).preview()
    assert (footprint.types["mood"].records, footprint.types["mood"].states) == (2, 5)
    assert (footprint.thumbnails, footprint.removals) == (1, 1)
    forgetting = forget(world, world.ada)

    assert forgetting.trouble is None
    assert forgetting.thumbnails == 1
    assert in_redis(world, world.dids[world.ada]) == []
    assert all_records(world, world.ada) == {kind.name: {} for kind in KINDS}
    assert states(world, world.ada) == [FORGOTTEN] * (len(items) + 4)
    left = world.services.storage.database["atproto_removals"].distinct("user")
    assert sorted(left) == sorted([world.bob, f"{world.ada}:2"])
    known = world.services.storage.database["atproto_accounts"].distinct("_id")
    assert world.ada not in known
    assert world.bob in known
    assert (all_records(world, world.bob), states(world, world.bob)) == before
    assert world.services.media.thumbnails.forget(world.bob) == 1
    assert set(others) == {"painting", "piece", "kidlisp", "mood"}


def test_sessions_of_former_dids_are_deleted_and_those_of_other_users_are_kept(
    world: World,
) -> None:
    """Former DIDs are known from the states of documents and from the last sweep."""
    mood, bobs = (world.platform.save_mood("calm", user) for user in (world.ada, world.bob))
    for item in (mood, bobs):
        world.sync("mood", item)
    accounts = world.services.storage.database["atproto_accounts"]
    old, older, bob = "did:plc:old", "did:plc:older", world.dids[world.bob]
    accounts.update_one({"_id": world.ada}, {"$set": {"did": old}}, upsert=True)
    other = world.platform.save_mood("other", world.ada)
    stolen = world.platform.save_mood("stolen", world.ada)
    world.platform.edit("mood", other, atproto={"status": "skipped", "repo": older})
    world.platform.edit("mood", stolen, atproto={"status": "skipped", "repo": bob})
    with Redis.from_url(world.environ["REDIS_URL"]) as redis:
        for did in (old, older):
            redis.set(f"media-atproto:session:{did}:x", "sealed", ex=60)
    kept = in_redis(world, bob)
    forget(world, world.ada)
    assert [name for did in (old, older) for name in in_redis(world, did)] == []
    assert sorted(in_redis(world, bob)) == sorted(kept)


def test_once_more_it_finds_nothing(world: World) -> None:
    """And what was wiped before is forgotten, too: not even its key is kept."""
    published(world, world.ada)
    wipe(world, world.ada)
    assert forget(world, world.ada).results["mood"].reset == 1
    footprint = forgetter(world.services).prepare(world.ada).preview()
    assert not footprint.exists
    assert forget(world, world.ada).results["mood"].reset == 0
    assert states(world, world.ada) == [FORGOTTEN] * 4


def test_other_names_of_the_subject_are_understood(world: World) -> None:
    """For as long as it has an account."""
    for name in (world.ada, world.dids[world.ada], account(world, world.ada).handle):
        assert forgetter(world.services).prepare(name).subject == world.ada


def test_an_account_that_the_pds_has_deleted(world: World, pds_admin: tuple[str, str]) -> None:
    """With it the records are gone: that is told, and the rest is forgotten."""
    published(world, world.ada)
    delete_account(world, pds_admin, world.dids[world.ada])
    forgetting = forgetter(world.services).prepare(world.ada)
    assert "the PDS has no such account" in forgetting.remark
    assert forgetting.preview().types["mood"].states == 1
    sum(forgetting.run())
    assert (forgetting.trouble, forgetting.thumbnails) == (None, 1)
    assert states(world, world.ada) == [FORGOTTEN] * 4
    assert in_redis(world, world.dids[world.ada]) == []


def test_a_user_whose_document_is_gone_too(world: World, pds_admin: tuple[str, str]) -> None:
    """Only the subject tells whose items these are."""
    published(world, world.ada)
    delete_account(world, pds_admin, world.dids[world.ada])
    world.services.storage.database["users"].delete_one({"_id": world.ada})
    forgetting = forget(world, world.ada)
    assert "The user is deleted or has no account" in forgetting.remark
    assert (forgetting.trouble, forgetting.thumbnails) == (None, 1)
    assert states(world, world.ada) == [FORGOTTEN] * 4


def test_records_that_nobody_can_remove_are_told(world: World, pds_admin: tuple[str, str]) -> None:
    """The user's document is gone and the repo is not: such states stay, to find them by."""
    published(world, world.ada)
    unseen = world.platform.save_mood("never seen", world.ada)
    world.services.storage.database["users"].delete_one({"_id": world.ada})
    forgetting = forget(world, world.ada)
    did = world.dids[world.ada]
    for done in forgetting.results.values():
        assert list(done.skipped.values()) == [f"its record is in the repo of {did}"]
    assert essence(world.platform.state("mood", unseen)) == FORGOTTEN
    assert states(world, world.ada).count(FORGOTTEN) == 1
    delete_account(world, pds_admin, did)
    assert all(not done.skipped for done in forget(world, world.ada).results.values())
    assert states(world, world.ada).count(FORGOTTEN) == 5


def test_a_deactivated_account_keeps_its_records_and_states(world: World) -> None:
    """They would come back with it; thumbnails and session do not wait for that."""
    published(world, world.ada)
    ada = account(world, world.ada)
    pds = world.services.pds.client_of(ada.did)
    session = pds.create_session(ada.did, ada.password)
    deactivate(pds, session)
    forgetting = forget(world, world.ada)
    assert "deactivated" in forgetting.remark
    assert forgetting.trouble is not None
    assert forgetting.trouble.code == "account_deactivated"
    assert forgetting.thumbnails == 1
    assert FORGOTTEN not in states(world, world.ada)
    assert in_redis(world, ada.did) == []
    post(pds, "com.atproto.server.activateAccount", session.access)
    assert forget(world, world.ada).trouble is None
    assert states(world, world.ada) == [FORGOTTEN] * 4
    assert all_records(world, world.ada) == {kind.name: {} for kind in KINDS}


def test_a_wrong_password_keeps_records_and_forgets_the_parking(world: World) -> None:
    """With the right one, the next time gets through."""
    published(world, world.ada)
    ada = account(world, world.ada)
    set_password(world, world.ada, "not it")
    forgetting = forget(world, world.ada)
    assert isinstance(forgetting.trouble, AccountError)
    assert FORGOTTEN not in states(world, world.ada)
    sessions = world.services.pds.hosts.for_did(ada.did).sessions
    with pytest.raises(AccountError):
        sessions.get(replace(ada, password=Secret("not it")))
    forget(world, world.ada)
    assert not [name for name in in_redis(world, ada.did) if b"parked" in name]
    set_password(world, world.ada, ada.password.reveal())
    assert forget(world, world.ada).trouble is None
    assert in_redis(world, ada.did) == []


def test_a_pds_that_dies_half_way(own_world: World, own_stack: Stack) -> None:
    """What is not known to be gone is not called so; run again, it is."""
    published_moods(own_world, own_world.ada, 150)
    forgetting = forgetter(own_world.services).prepare(own_world.ada)
    steps = forgetting.run()
    assert next(steps) == 100
    with pds_away(own_stack):
        assert list(steps) == []
    assert forgetting.trouble is not None
    assert states(own_world, own_world.ada).count(FORGOTTEN) == 100
    assert forget(own_world, own_world.ada).trouble is None
    assert states(own_world, own_world.ada) == [FORGOTTEN] * 150


def test_a_document_that_a_run_holds_is_left_for_the_next_time(world: World) -> None:
    """Even one without a record: what the run writes would be there again."""
    mood = world.platform.save_mood("calm", world.ada)
    found: list[ErasureRun] = []

    def forget_now(_step: str) -> None:
        if not found:
            found.append(forget(world, world.ada))

    world.sync("mood", mood, observer=forget_now)
    assert list(found[0].results["mood"].skipped.values()) == [AT_WORK]
    settle(world)
    assert forget(world, world.ada).results["mood"].removed == 1
    assert states(world, world.ada) == [FORGOTTEN]


def delete_account(world: World, admin: tuple[str, str], did: str) -> None:
    """Delete an account from the PDS, as its administrator does."""
    url = f"{world.environ['PDS_URL']}/xrpc/com.atproto.admin.deleteAccount"
    httpx.post(url, json={"did": did}, auth=admin, timeout=30).raise_for_status()
