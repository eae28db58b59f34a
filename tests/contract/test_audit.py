"""The audit: what it finds, what it counts without finding fault, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.contract.auditing import Ground, found, standings
from tests.contract.damages import DAMAGES, FAILED
from worker.core.clock import after, now
from worker.media import MEDIA_TYPES, media_type
from worker.operations.audit.findings import Fault


def test_account_that_is_right_is_clean(ground: Ground) -> None:
    """Nothing is found, every document is right, and what there is was counted."""
    audited = ground.audit()
    assert audited.verdict == "clean"
    assert standings(audited) == {("mood", "synced", ""): 3, ("painting", "synced", ""): 1}
    counts = {each.kind.name: (each.documents, each.records) for each in audited.audit.types}
    assert counts == {"painting": (1, 1), "mood": (3, 3), "piece": (0, 0), "kidlisp": (0, 0)}


def test_findings_say_what_and_where(ground: Ground) -> None:
    """The document, the record, what differs."""
    item = ground.mood("here")
    ground.platform.edit("mood", item, mood="there")
    (finding,) = ground.audit().audit.findings
    assert finding.fault is Fault.STALE
    assert finding.key == ground.key("mood", item)
    assert finding.document
    assert finding.document.ref.id == item
    assert finding.cid == ground.state("mood", item)["cid"]
    assert finding.detail == 'mood is "here", not "there"; text is "here", not "there"'


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "field 'mood' is missing"), ("x" * 6000, "computer.aesthetic.mood: mood")],
    ids=["missing", "too long"],
)
def test_unpublishable_document_is_missing_and_says_why(
    ground: Ground, text: str, reason: str
) -> None:
    """No run has seen it yet: the audit builds and validates its record."""
    item = ground.platform.save_mood(text, ground.user.subject)
    (finding,) = ground.audit().audit.findings
    assert (finding.fault, finding.about) == (Fault.MISSING, f"mood {item}")
    assert f"it cannot be published: {reason}" in finding.detail


def test_what_a_document_tells_of_itself_is_no_finding(ground: Ground) -> None:
    """Failed, waiting, partial, skipped and removed documents are counted by reason."""
    subject = ground.user.subject
    refused = ground.platform.save_mood("", subject)
    ground.sync("mood", refused)
    waiting = ground.platform.save_mood("later", subject)
    ground.set_state("mood", waiting, status="pending", retryAt=after(60))
    gone = ground.mood("gone")
    ground.platform.edit("mood", gone, nuked=True)
    ground.sync("mood", gone)
    never = ground.platform.save_mood("never", subject)
    ground.platform.edit("mood", never, deleted=True)
    ground.sync("painting", ground.platform.save_painting("no-such-image", subject))
    ground.platform.store("bad.png", b"no image", subject)
    ground.sync("painting", ground.platform.save_painting("bad", subject))
    refused_edit = ground.mood()
    ground.platform.edit("mood", refused_edit, mood="x" * 6000)
    ground.sync("mood", refused_edit)
    wiped = ground.mood()
    ground.repo.delete(ground.key("mood", wiped))
    ground.set_state("mood", wiped, status="removed", reason="wiped", uri=None, cid=None)
    claimed = ground.mood()
    ground.platform.edit("mood", claimed, mood="being published")
    ground.services.storage.store.claim(media_type("mood"), [claimed], holder="somebody", lease=60)
    audited = ground.audit()
    assert (audited.verdict, found(audited)) == ("wrong", {})
    assert standings(audited) == {
        ("mood", "synced", ""): 3,
        ("mood", "failed", "field_invalid"): 1,
        ("mood", "failed", "lexicon_violation"): 1,
        ("mood", "pending", "queued"): 1,
        ("mood", "pending", "at_work"): 1,
        ("mood", "removed", "nuked"): 1,
        ("mood", "removed", "wiped"): 1,
        ("mood", "never_published", "deleted"): 1,
        ("painting", "synced", ""): 1,
        ("painting", "partial", "source_missing"): 1,
        ("painting", "partial", "image_unreadable"): 1,
    }


def test_expired_lease_waits_for_the_sweep_if_it_has_a_retry_time(ground: Ground) -> None:
    """A claim sets that time. Without it no run will ever try the document."""
    item = ground.platform.save_mood("dead", ground.user.subject)
    dead = {"token": "t", "holder": "h", "until": now() - timedelta(minutes=1)}
    ground.set_state("mood", item, status="pending", lease=dead, retryAt=now())
    assert standings(ground.audit())["mood", "pending", "queued"] == 1
    ground.set_state("mood", item, retryAt=None)
    assert found(ground.audit()) == {("missing", "mood"): 1}


def test_document_saved_a_moment_ago_is_on_its_way(ground: Ground) -> None:
    """Its message is on the queue: the sweep gives it as long."""
    ground.platform.save_mood("just now", ground.user.subject)
    with ground.open() as rounds:
        patient = replace(rounds, auditor=replace(rounds.auditor, grace=60))
        audited = patient.of_account(ground.user)
    assert standings(audited)["mood", "never_published", "just_saved"] == 1
    assert audited.verdict == "pending"


def test_document_published_while_the_repo_was_read_is_in_hand(ground: Ground) -> None:
    """The repo that was read is older than the state: no reason to find fault."""
    item = ground.platform.save_mood("meanwhile", ground.user.subject)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    ground.set_state("mood", item, status="synced", attemptedAt=soon, rkey="x", uri="x", cid="x")
    audited = ground.audit()
    assert standings(audited)["mood", "pending", "at_work"] == 1
    assert audited.verdict == "pending"


def test_document_whose_run_ended_while_the_repo_was_read_is_in_hand(ground: Ground) -> None:
    """The run began before the audit, and has written the record after the export."""
    item = ground.mood()
    ground.repo.delete(ground.key("mood", item))
    assert found(ground.audit()) == {("missing", "mood"): 1}
    ground.set_state("mood", item, syncedAt=datetime.now(UTC) + timedelta(minutes=1))
    assert standings(ground.audit())["mood", "pending", "at_work"] == 1


def test_record_of_another_user_with_the_same_account_is_no_orphan(ground: Ground) -> None:
    """Two users of one DID: each one's records are their own."""
    twin = f"auth0|twin-{uuid4().hex}"
    users = ground.services.storage.database["users"]
    users.insert_one({**(users.find_one({"_id": ground.user.subject}) or {}), "_id": twin})
    ground.sync("mood", ground.platform.save_mood("theirs", twin))
    account = ground.services.storage.accounts.find(twin)
    assert account
    assert ground.audit().verdict == "clean"
    assert ground.audit(account).verdict == "clean"


def test_without_bytes_a_blob_that_is_gone_is_not_found(ground: Ground) -> None:
    """`blobs=False` is quicker, and says less."""
    DAMAGES["blob_deleted"](ground)
    assert ground.audit(blobs=False).verdict == "clean"


def test_document_with_a_bad_blob_is_not_right_as_well(ground: Ground) -> None:
    """It is counted once."""
    DAMAGES["blob_truncated"](ground)
    audited = ground.audit()
    assert standings(audited)["painting", "synced", ""] == 1
    (finding,) = audited.audit.findings
    assert "does not have the whole of blob" in finding.detail


def test_types_that_were_not_asked_for_are_left_out(ground: Ground) -> None:
    """Neither read nor counted."""
    DAMAGES["never_published"](ground)
    audited = ground.audit(kinds=[MEDIA_TYPES["painting"]])
    assert audited.verdict == "clean"
    assert [each.kind.name for each in audited.audit.types] == ["painting"]


def test_guests_account_has_the_items_of_nobody(ground: Ground) -> None:
    """Whatever stands for nobody: no field, null, an empty text, the guests' subject."""
    ground.platform.sign_up("art-guest", f"guests-{uuid4().hex[:8]}")
    guests = ground.services.storage.accounts.find("art-guest")
    assert guests
    for owner in (None, "", "art-guest"):
        item = ground.platform.save_kidlisp("(wipe)", None)
        ground.platform.edit("kidlisp", item, user=owner)
        ground.sync("kidlisp", item)
    ground.sync("kidlisp", ground.platform.save_kidlisp("(line)", None))
    ground.platform.save_mood("not published", None)
    audited = ground.audit(guests)
    assert audited.verdict == "clean"
    assert standings(audited) == {
        ("kidlisp", "synced", ""): 4,
        ("mood", "never_published", "guests_not_published"): 1,
    }


def test_documents_of_owners_without_an_account_are_covered(ground: Ground) -> None:
    """Every document is counted somewhere, whatever its owner is."""
    for owner in ("auth0|nobody", 5, None):
        item = ground.platform.save_mood("whose?", "somebody")
        ground.platform.edit("mood", item, user=owner)
    audited = ground.others()
    assert audited.verdict == "clean"
    assert standings(audited) == {
        ("mood", "never_published", "no_account"): 2,
        ("mood", "never_published", "guests_not_published"): 1,
    }


def test_document_without_account_that_claims_a_record_lies(ground: Ground) -> None:
    """Nobody can say where that would be."""
    item = ground.platform.save_mood("whose?", "auth0|nobody")
    ground.set_state("mood", item, status="synced")
    assert found(ground.others()) == {("state_mismatch", "mood"): 1}
    assert ground.others(repair=True).verdict == "clean"
    assert ground.state("mood", item)["status"] == "skipped"


def test_every_account_is_gone_through(ground: Ground) -> None:
    """Users without a usable account are left out."""
    other = ground.newcomer()
    ground.services.storage.database["users"].insert_one({"_id": "auth0|none"})
    ground.services.storage.database["users"].insert_one(
        {"_id": "auth0|half", "atproto": {"did": "x"}}
    )
    with ground.open() as rounds:
        accounts = list(rounds.auditor.documents.accounts())
    assert sorted(each.subject for each in accounts) == sorted((ground.user.subject, other.subject))


def test_account_that_there_is_not_is_told(ground: Ground) -> None:
    """That is a finding of its own, and the other accounts are none the worse."""
    users = ground.services.storage.database["users"]
    nowhere = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
    users.update_one({"_id": ground.user.subject}, {"$set": {"atproto.did": nowhere}})
    account = ground.services.storage.accounts.find(ground.user.subject)
    assert account
    audited = ground.audit(account)
    assert audited.verdict == "wrong"
    assert audited.audit.failure
    assert audited.audit.failure.code == "did_not_found"
    assert audited.audit.types == ()


def test_failure_without_the_word_failed_is_no_excuse(ground: Ground) -> None:
    """A state that has an error and claims to be synced is not believed."""
    item = ground.mood()
    ground.repo.delete(ground.key("mood", item))
    ground.set_state("mood", item, error=FAILED)
    assert found(ground.audit()) == {("missing", "mood"): 1}
