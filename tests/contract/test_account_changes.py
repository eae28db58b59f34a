"""What the sweep marks after an account's DID or screen name has changed, in a real MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from bson import ObjectId
from pymongo import MongoClient

from tests.contract.counting import Commands
from tests.contract.items import MOOD, PAINTING, SECOND, edit, refuse, save, settle, state_of, sweep
from worker.core.clock import after, now
from worker.core.documents import Account, ItemRef, MediaDocument
from worker.core.errors import MediaError
from worker.database.account_changes import AccountChanges
from worker.database.accounts import Accounts
from worker.database.mongo import RawDocument
from worker.database.store import DocumentStore, Finish
from worker.media import SiteUrls, media_type
from worker.queue.names import FRONT, OVERFLOW
from worker.services import Services
from worker.sync.account_changes import ChangedAccounts

ADA, BOB = "auth0|ada", "auth0|bob"
OLD, NEW = "did:plc:old", "did:plc:new"
PIECE = media_type("piece")
IN_OLD_REPO: RawDocument = {"status": "synced", "repo": OLD}


def set_account(here: Services, subject: str = ADA, did: str = OLD, name: str | None = "n") -> None:
    """Save a user's account and screen name."""
    atproto = {"did": did, "handle": "h.test", "password": "x"}
    here.storage.database["users"].replace_one({"_id": subject}, {"atproto": atproto}, upsert=True)
    here.storage.database["@handles"].delete_one({"_id": subject})
    if name is not None:
        here.storage.database["@handles"].insert_one({"_id": subject, "handle": name})


def save_record(here: Services, kind: object = MOOD, user: str = ADA, **state: object) -> ItemRef:
    """Save an item with a state, by default published in the old repo."""
    atproto = {**IN_OLD_REPO, "rkey": str(ObjectId()), **state}
    return save(here, kind, user=user, atproto=atproto)  # type: ignore[arg-type]


def mark(here: Services) -> set[object]:
    """Sweep twice, as the first sweep marks items; return the ids that the second enqueued."""
    assert sweep(here) == []
    return {ref.id for ref in sweep(here)}


def known(here: Services) -> dict[object, tuple[object, object]]:
    """Return the saved DIDs and screen names by subject."""
    found = here.storage.database["atproto_accounts"].find()
    return {raw["_id"]: (raw["did"], raw["screenName"]) for raw in found}


def test_an_account_seen_for_the_first_time_is_only_saved(here: Services) -> None:
    """Its items may be in another repo for any reason."""
    save_record(here, repo="did:plc:other")
    set_account(here)
    set_account(here, BOB, NEW, None)
    assert mark(here) == set()
    assert known(here) == {ADA: (OLD, "n"), BOB: (NEW, None)}


def test_an_unchanged_account_marks_nothing(here: Services) -> None:
    """In any number of sweeps."""
    save_record(here)
    set_account(here)
    assert mark(here) | mark(here) == set()


def test_a_new_did_marks_the_items_in_another_repo(here: Services) -> None:
    """With the statuses of items that have a record, or may have one."""
    set_account(here)
    sweep(here)
    moving = [
        save_record(here, kind, status=status)
        for kind in (MOOD, PAINTING, PIECE)
        for status in ("synced", "partial", "failed", "pending")
    ]
    save_record(here, status="removed")
    save_record(here, status="skipped", reason="nuked")
    save_record(here, repo=NEW)
    save_record(here, repo=None)
    save_record(here, user=BOB)
    set_account(here, did=NEW)
    assert mark(here) == {ref.id for ref in moving}
    assert known(here) == {ADA: (NEW, "n")}
    assert sweep(here) == []


def test_a_mark_changes_only_when_the_item_is_due(here: Services) -> None:
    """Its state is still true: the record is in the old repo until the item is synced."""
    set_account(here)
    sweep(here)
    ref = save_record(here)
    before = state_of(here, ref)
    assert isinstance(before, dict)
    set_account(here, did=NEW)
    sweep(here)
    marked = state_of(here, ref)
    assert isinstance(marked, dict)
    assert marked.pop("retryAt") <= now()
    assert marked == before | {"again": True}
    claimed = here.storage.store.claim(
        MOOD, [ref.id], holder="message", lease=100, only_if_due=True
    )
    assert isinstance(claimed, MediaDocument)
    assert here.storage.store.finish(MOOD, claimed, claimed.state) is Finish.SETTLED


@pytest.mark.parametrize(("before", "name"), [("n", "other"), (None, "n"), ("n", None)])
def test_a_new_screen_name_marks_published_items_with_links_that_contain_it(
    here: Services, before: str | None, name: str | None
) -> None:
    """Others are published with the new link whenever they are published."""
    set_account(here, name=before)
    sweep(here)
    linked = [save_record(here, PIECE, status=status) for status in ("synced", "partial")]
    for status in ("failed", "pending", "skipped", "removed"):
        save_record(here, PIECE, status=status)
    save_record(here, MOOD)
    save_record(here, PAINTING)
    save_record(here, PIECE, user=BOB)
    set_account(here, name=name)
    assert mark(here) == {ref.id for ref in linked}
    assert known(here) == {ADA: (OLD, name)}


def test_url_templates_of_the_settings_decide_which_links_contain_the_screen_name(
    here: Services,
) -> None:
    """A template may add the placeholder to a type or take it away."""
    templates = {"PIECE_USERACURL": "{site}/{slug}", "PAINTING_IMAGEURL": "{site}/{handle}"}
    site = replace(here.media.site, templates=templates)
    changed = replace(here.sync.sweep.changed_accounts, site=site)
    set_account(here)
    changed.mark_items(10)
    save_record(here, PIECE)
    painting = save_record(here, PAINTING)
    set_account(here, name="other")
    changed.mark_items(10)
    assert sweep(here) == [painting]


def test_a_run_that_holds_an_item_syncs_it_again(here: Services) -> None:
    """It may have read the account before the change."""
    set_account(here)
    sweep(here)
    ref = save(here)
    settle(here, ref, repo=OLD, rkey="k")
    claimed = here.storage.store.claim(MOOD, [ref.id], holder="message", lease=100)
    assert isinstance(claimed, MediaDocument)
    set_account(here, did=NEW)
    sweep(here)
    assert here.storage.store.finish(MOOD, claimed, claimed.state) is Finish.CHANGED


def test_an_item_that_is_retried_anyway_keeps_its_time(here: Services) -> None:
    """Its next run reads the new account."""
    set_account(here)
    sweep(here)
    at = after(500)
    ref = save_record(here, status="pending", retryAt=at)
    set_account(here, did=NEW)
    assert mark(here) == set()
    state = state_of(here, ref)
    assert isinstance(state, dict)
    assert state["retryAt"] == at


@pytest.mark.parametrize("user", [None, "", "art-guest"])
def test_a_new_did_of_the_guest_account_marks_guests_items(here: Services, user: str) -> None:
    """Their documents name no user, or an empty one, or the guest by name."""
    set_account(here, "art-guest")
    sweep(here)
    ref = save_record(here, user=user)
    set_account(here, "art-guest", did=NEW)
    assert mark(here) == {ref.id}


def test_windows_cycle_through_all_users(here: Services) -> None:
    """Each sweep reads the next users, in the order of their subjects."""
    subjects = [f"u{number}" for number in range(5)]
    for subject in subjects:
        set_account(here, subject)
    for count in (2, 4, 5, 5):
        sweep(here, window=2)
        assert sorted(map(str, known(here))) == subjects[:count]
    refs = {subject: save_record(here, user=subject) for subject in subjects}
    for subject in subjects:
        set_account(here, subject, NEW)
    found = [[ref.id for ref in sweep(here, window=2)] for _ in range(4)]
    expected = [refs[subject].id for subject in ("u2", "u3", "u4", "u0", "u1")]
    assert found[0] == []
    assert [each for step in found for each in step] == expected


def test_a_window_of_0_reads_no_accounts(here: Services) -> None:
    """The setting turns all comparisons off."""
    set_account(here)
    sweep(here, window=0)
    assert known(here) == {}


def test_users_without_a_usable_account_are_left_out(here: Services) -> None:
    """Their items would be skipped, and the change is found when the account is usable."""
    set_account(here)
    sweep(here)
    ref = save_record(here)
    users = here.storage.database["users"]
    users.insert_many([{"_id": 5}, {"_id": "auth0|x"}, {"_id": "auth0|y", "atproto": "none"}])
    for broken in ({"did": NEW}, {"did": 5, "password": "x"}, None):
        users.update_one({"_id": ADA}, {"$set": {"atproto": broken}})
        assert mark(here) == set()
    assert known(here) == {ADA: (OLD, "n")}
    set_account(here, did=NEW)
    assert mark(here) == {ref.id}


def test_interrupted_marking_is_repeated(here: Services) -> None:
    """Without an index the sweep fails: the account is not saved as known before all are marked."""
    set_account(here)
    sweep(here)
    ref = save_record(here)
    set_account(here, did=NEW)
    here.storage.store.collection(MOOD).drop_index("atproto_owner")
    with pytest.raises(MediaError, match="index"):
        sweep(here)
    assert known(here) == {ADA: (OLD, "n")}
    here.ensure_indexes()
    assert mark(here) == {ref.id}
    assert known(here) == {ADA: (NEW, "n")}


def test_a_document_that_a_validator_rejects_keeps_no_other_from_being_marked(
    here: Services,
) -> None:
    """The account is saved as known: it would be marked again by each sweep."""
    set_account(here)
    sweep(here)
    refs = [save_record(here) for _ in range(3)]
    edit(here, refs[1], locked=True)
    set_account(here, did=NEW)
    with refusing(here, {"locked": {"$ne": True}}):
        assert mark(here) == {refs[0].id, refs[2].id}
    assert known(here) == {ADA: (NEW, "n")}


@contextmanager
def refusing(here: Services, validator: RawDocument) -> Iterator[None]:
    """Let MongoDB refuse moods that do not match, for a while."""
    here.storage.database.command("collMod", MOOD.collection, validator=validator)
    yield
    here.storage.database.command("collMod", MOOD.collection, validator={})


def test_malformed_states_are_left_alone(here: Services) -> None:
    """Older programs left arrays and texts."""
    set_account(here)
    sweep(here)
    odd: list[object] = [[dict(IN_OLD_REPO)], [], "synced", None]
    refs = [save(here, atproto=state) for state in odd]  # type: ignore[arg-type]
    for ref in refs:
        edit(here, ref, when=now() - 1000 * 86_400 * SECOND)
    ref = save_record(here)
    set_account(here, did=NEW)
    here.sync.sweep.changed_accounts.mark_items(10)
    assert [owned.ref for owned in here.storage.backlog.find_due(MOOD, now(), 10)] == [ref]
    assert [state_of(here, each) for each in refs] == odd


def test_ten_thousand_items_are_marked_in_pages(here: Services) -> None:
    """And are enqueued over several sweeps that do not keep another account's items waiting."""
    set_account(here)
    sweep(here)
    items = [
        {"_id": ObjectId(), "user": ADA, "atproto": {**IN_OLD_REPO, "rkey": f"k{number}"}}
        for number in range(10_000)
    ]
    here.storage.store.collection(PIECE).insert_many(items)
    set_account(here, did=NEW, name="other")
    commands = Commands()
    with MongoClient[RawDocument](
        here.settings.mongodb.url.reveal(), tz_aware=True, event_listeners=[commands]
    ) as client:
        database = client[here.storage.database.name]
        changes = AccountChanges(database, Accounts(database), DocumentStore(database, "art-guest"))
        ChangedAccounts(changes, SiteUrls("https://x.test", "u", "g")).mark_items(10)
    marked = {"atproto.retryAt": {"$lte": now()}}
    assert here.storage.store.collection(PIECE).count_documents(marked) == 10_000
    assert commands.counts["update"] <= 20 + 3
    assert commands.counts["getMore"] <= 20
    assert commands.counts["find"] <= 10
    other = save(here, user=BOB)
    sent: list[tuple[ItemRef, int]] = []
    small = replace(here.sync.sweep, settings=replace(here.settings.sweep, limit=100))
    count = small.run({FRONT: 0, OVERFLOW: 0}, lambda *item: sent.append(item), refuse)
    assert count <= 200
    assert (other, FRONT) in sent


def test_scan_returns_accounts_with_their_screen_names(here: Services) -> None:
    """The position is the last user read, with or without an account."""
    set_account(here, "a", "did:plc:a", "ada")
    here.storage.database["users"].insert_one({"_id": "b"})
    set_account(here, "c", "did:plc:c", None)
    first, position = here.storage.accounts.scan("", 2)
    rest, end = here.storage.accounts.scan(position, 2)
    assert [(each.subject, each.did, each.screen_name) for each in first + rest] == [
        ("a", "did:plc:a", "ada"),
        ("c", "did:plc:c", None),
    ]
    assert (position, end) == ("b", "")
    assert all(isinstance(each, Account) for each in first)
