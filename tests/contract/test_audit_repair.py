"""Repairs: each kind of damage put right, once; what must not be touched left alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from bson import ObjectId

from tests.contract.auditing import Count, Ground, found, standings
from tests.contract.damages import DAMAGES, MOOD, OLDEST
from worker.core.cid import cid_of_blob
from worker.core.records import Write
from worker.media import media_type


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_and_put_right(ground: Ground, damage: Callable[[Ground], Count]) -> None:
    """That and nothing else; then the account is clean, and each document has its one record."""
    expected = damage(ground)
    before = ground.audit()
    assert found(before) == expected
    assert before.verdict == "wrong"
    after = ground.repair()
    assert found(after) == {}
    assert after.verdict == "clean"
    for name in ("mood", "painting", "piece"):
        refs = [record.value["ref"] for record in ground.records(name)]
        assert len(refs) == len(set(refs))


def test_all_damages_at_once_are_put_right(ground: Ground) -> None:
    """They do not get in each other's way; removing so much takes `force`."""
    for damage in DAMAGES.values():
        damage(ground)
    assert ground.repair(force=True).verdict == "clean"


def test_many_findings_are_put_right_batch_by_batch(ground: Ground) -> None:
    """More than go into one batch, each counted once."""
    for number in range(120):
        ground.platform.save_mood(f"new {number}", ground.user.subject)
    audited = ground.repair()
    assert audited.verdict == "clean"
    assert audited.repairs
    assert audited.repairs.synced == 120
    assert len(ground.records("mood")) == 123


def test_second_repair_changes_nothing(ground: Ground) -> None:
    """It makes no commit."""
    DAMAGES["twins_of_an_unknown_one"](ground)
    DAMAGES["blob_truncated"](ground)
    ground.repair()
    before = ground.repo.commit()
    repairs = ground.repair().repairs
    assert repairs
    assert (repairs.removed, repairs.synced) == (0, 0)
    assert ground.repo.commit() == before


def test_record_that_the_state_names_is_kept(ground: Ground) -> None:
    """Even if an older one names the document as well."""
    item = ground.mood()
    named = ground.key("mood", item)
    ground.put_twin("mood", item, OLDEST)
    ground.repair()
    assert ground.repo.get(named)
    assert ground.repo.get(replace(named, rkey=OLDEST)) is None


def test_oldest_record_is_kept_if_the_state_names_none(ground: Ground) -> None:
    """And the state says so then."""
    item = ground.mood()
    ground.put_twin("mood", item, OLDEST)
    ground.platform.edit("mood", item, atproto={})
    ground.repair()
    assert ground.state("mood", item)["rkey"] == OLDEST
    assert [r.rkey for r in ground.records("mood") if r.value["ref"] == str(item)] == [OLDEST]


def test_truncated_blob_is_whole_again(ground: Ground) -> None:
    """The PDS has the bytes that its CID says, at the same URI, with the same CID."""
    item = ground.painting(seed=5)
    cid, key = ground.blob_of("painting", item), ground.key("painting", item)
    ground.blob_file(cid).write_bytes(b"short")
    assert ground.repair().verdict == "clean"
    data = ground.services.pds.client_of(ground.user.did).get_blob(ground.user.did, cid)
    assert data
    assert cid_of_blob(data) == cid == ground.blob_of("painting", item)
    assert ground.key("painting", item) == key


def test_blob_whose_source_is_gone_leaves_the_record_without_it(ground: Ground) -> None:
    """The record is published all the same, and the document says what is missing."""
    item = ground.painting(seed=5)
    ground.blob_file(ground.blob_of("painting", item)).unlink()
    folder = ground.platform.store("other.txt", b"", ground.user.subject).parent
    (folder / f"{ground.platform.document('painting', item)['slug']}.png").unlink()
    audited = ground.repair()
    assert (audited.verdict, found(audited)) == ("wrong", {})
    assert standings(audited)["painting", "partial", "source_missing"] == 1
    record = ground.repo.get(ground.key("painting", item))
    assert record
    assert "thumbnail" not in record.value


def test_unpublishable_document_is_failed_afterwards(ground: Ground) -> None:
    """It was missing; now the document says why, and that is wrong too."""
    ground.platform.save_mood("", ground.user.subject)
    audited = ground.repair()
    assert (audited.verdict, found(audited)) == ("wrong", {})
    assert standings(audited)["mood", "failed", "field_invalid"] == 1


@pytest.mark.parametrize("side", ["old", "new"])
def test_moved_document_is_repaired_from_both_sides(ground: Ground, side: str) -> None:
    """One repair of the old or the new owner's account leaves both clean."""
    item = ground.mood()
    other = ground.newcomer()
    ground.platform.edit("mood", item, user=other.subject)
    assert found(ground.audit(other)) == {("missing", "mood"): 1}
    assert ground.repair(other if side == "new" else None).verdict == "clean"
    assert ground.state("mood", item)["repo"] == other.did
    assert ground.audit(other).verdict == "clean"
    assert ground.audit().verdict == "clean"


def orphans(ground: Ground, count: int) -> None:
    """Write records that name no document."""
    keys = [ground.repo.key(MOOD, f"orphan{number}") for number in range(count)]
    ground.repo.apply([Write("create", key, {"text": "?"}) for key in keys], ground.repo.commit())


def test_too_large_a_share_is_removed_by_force_only(ground: Ground) -> None:
    """6 of 10 records: none of that collection is removed, but all else is repaired."""
    orphans(ground, 6)
    DAMAGES["edited_unheard"](ground)
    DAMAGES["blob_truncated"](ground)
    audited = ground.repair()
    assert found(audited) == {("orphaned", "mood"): 6}
    assert audited.repairs
    (refusal,) = audited.repairs.refusals
    assert (refusal.collection, refusal.removals, refusal.records) == (MOOD, 6, 10)
    assert "--force" in refusal.text
    assert audited.verdict == "wrong"
    assert ground.repair(force=True).verdict == "clean"
    assert len(ground.records("mood")) == 4


def test_few_records_are_removed_whatever_their_share(ground: Ground) -> None:
    """5 of 8: a small collection is no reason to refuse."""
    orphans(ground, 5)
    assert ground.repair().verdict == "clean"


def test_a_fifth_is_removed_and_no_more(ground: Ground) -> None:
    """6 of 30 are 20%, and 7 of 31 are more."""
    for number in range(21):
        ground.mood(f"more {number}")
    orphans(ground, 6)
    assert ground.repair().verdict == "clean"
    orphans(ground, 7)
    assert found(ground.repair()) == {("orphaned", "mood"): 7}


def test_records_that_would_be_written_again_count_as_well(ground: Ground) -> None:
    """A disk of blobs that is not mounted must not empty the accounts."""
    items = [ground.painting(seed=seed) for seed in range(1, 7)]
    for item in items:
        ground.blob_file(ground.blob_of("painting", item)).unlink()
    assert found(ground.repair()) == {("blob_missing", "painting"): 6}
    assert len(ground.records("painting")) == 7
    assert ground.repair(force=True).verdict == "clean"


def claim(ground: Ground, item: ObjectId) -> None:
    """Take a mood as a run does."""
    kind = media_type("mood")
    ground.services.storage.store.claim(kind, [item], holder="somebody", lease=60)


def test_document_that_a_run_holds_is_left_to_it(ground: Ground) -> None:
    """Claimed after it was found: neither its record nor its state is touched."""
    item = ground.mood()
    ground.platform.edit("mood", item, nuked=True)
    repairs = ground.repair_after(lambda: claim(ground, item))
    assert (repairs.removed, repairs.synced) == (0, 0)
    assert ground.repo.get(ground.key("mood", item))
    assert "lease" in ground.state("mood", item)


def test_stale_document_that_a_run_holds_is_told_as_left(ground: Ground) -> None:
    """The run is told to look again, and the report says that it was left."""
    item = ground.mood()
    ground.platform.edit("mood", item, mood="edited")
    repairs = ground.repair_after(lambda: claim(ground, item))
    assert (repairs.synced, repairs.skipped) == (0, 1)
    assert ground.state("mood", item)["again"] is True


def test_orphan_whose_document_came_back_is_kept(ground: Ground) -> None:
    """Un-nuked between the look and the repair."""
    item = ground.mood()
    ground.platform.edit("mood", item, nuked=True)
    ground.repair_after(lambda: ground.platform.edit("mood", item, nuked=False))
    assert ground.repo.get(ground.key("mood", item))
    assert ground.audit().verdict == "clean"


def test_two_repairs_at_once_do_no_harm(ground: Ground) -> None:
    """Whoever comes first; in the end all is right."""
    for name in ("twins_of_an_unknown_one", "record_deleted", "edited_unheard", "blob_truncated"):
        DAMAGES[name](ground)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(ground.repair, force=True) for _ in range(2)]
        for each in both:
            each.result()
    ground.repair()
    assert ground.audit().verdict == "clean"


def test_repair_that_died_after_a_removal_is_taken_up(ground: Ground) -> None:
    """The record is gone, the state says otherwise: the next repair sees to it."""
    item = ground.painting(seed=5)
    ground.blob_file(ground.blob_of("painting", item)).unlink()
    ground.repo.delete(ground.key("painting", item))
    assert found(ground.audit()) == {("missing", "painting"): 1}
    assert ground.repair().verdict == "clean"


def test_wrong_password_keeps_an_account_from_being_repaired(ground: Ground) -> None:
    """The report says why; nothing was removed."""
    account = ground.newcomer()
    mood = ground.platform.save_mood("theirs", account.subject)
    ground.sync("mood", mood)
    repo = ground.services.pds.repo(account)
    repo.put(repo.key(MOOD, "x"), {}, None)
    users = ground.services.storage.database["users"]
    users.update_one({"_id": account.subject}, {"$set": {"atproto.password": "wrong"}})
    changed = ground.services.storage.accounts.find(account.subject)
    assert changed
    audited = ground.repair(changed)
    assert found(audited) == {("orphaned", "mood"): 1}
    assert audited.repairs
    assert [failure.code for failure in audited.repairs.failures] == ["wrong_password"]
    assert audited.verdict == "wrong"
