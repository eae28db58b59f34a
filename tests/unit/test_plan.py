"""The decision table, without any call."""

from __future__ import annotations

from typing import Any

import pytest

from worker.core.documents import Account, ItemRef, MediaDocument, Status, SyncState
from worker.core.fields import Fields
from worker.core.records import RecordKey
from worker.core.secrets import Secret
from worker.media import media_type
from worker.sync.plan import Nothing, Plan, Publish, Remove, Skip, plan

ACCOUNT = Account("auth0|1", "did:plc:mine", "ada.test", Secret("x"))


HERE, OLD = "did:plc:mine", "did:plc:old"


def state(status: Status = Status.SYNCED, repo: str | None = None) -> SyncState:
    """Return the state of an item that has a key."""
    return SyncState(status=status, repo=repo, rkey="3a")


def record(repo: str) -> RecordKey:
    """Return the key of that item's record in a repo."""
    return RecordKey(repo, "computer.aesthetic.painting", "3a")


TABLE: dict[str, tuple[Plan, dict[str, Any]]] = {
    "new": (Publish(ACCOUNT), {}),
    # Building the record shows whether there is anything to write.
    "published": (Publish(ACCOUNT), {"state": state(repo=HERE)}),
    # A guest's painting claimed at sign-up moves; it is not published twice.
    "given to another user": (Publish(ACCOUNT, moved_from=OLD), {"state": state(repo=OLD)}),
    "guest's mood": (Skip("guests_not_published"), {"type_name": "mood", "guest": True}),
    # The sweep looks for exactly this reason when accounts appear.
    "without an account": (Skip("no_account"), {"account": None}),
    # Nothing says that a write succeeded, but it may have.
    "nuked while pending": (
        Remove(record(OLD)),
        {"state": state(Status.PENDING, OLD), "gone": "nuked"},
    ),
    # A legacy document has an rkey, and names no repo.
    "nuked legacy item": (Remove(record(HERE)), {"state": SyncState(rkey="3a"), "gone": "nuked"}),
    "nuked before it was published": (Skip("nuked"), {"gone": "nuked"}),
    "removed": (Nothing(), {"state": state(Status.REMOVED, HERE), "gone": "nuked"}),
    "a draft": (Skip("draft"), {"gone": "draft", "code": None}),
    # The platform fills codes in; a record that exists is not taken away meanwhile.
    "without a code": (Skip("no_code", keeps_record=True), {"code": None}),
    "with an empty code": (Skip("no_code", keeps_record=True), {"code": ""}),
    "published, and its code is gone": (
        Skip("no_code", keeps_record=True),
        {"code": None, "state": state(repo=HERE)},
    ),
    # The builder refuses it by name.
    "with a code that is no text": (Publish(ACCOUNT), {"code": 7}),
    "without a code and an account": (Skip("no_account"), {"code": None, "account": None}),
    "a piece without a code": (Publish(ACCOUNT), {"type_name": "piece", "code": None}),
}


@pytest.mark.parametrize(("expected", "case"), TABLE.values(), ids=TABLE)
def test_plan_follows_from_document_state_and_account(expected: Plan, case: dict[str, Any]) -> None:
    """Each row of the table: what is done with such an item."""
    guest = case.get("guest", False)
    type_name = case.get("type_name", "painting")
    document = MediaDocument(
        ref=ItemRef(type_name, "1"),
        owner="art-guest" if guest else "auth0|1",
        is_guest=guest,
        hidden=case.get("gone"),
        fields=Fields({"code": case.get("code", "abc")}),
        state=case.get("state", SyncState()),
    )
    assert plan(media_type(type_name), document, case.get("account", ACCOUNT)) == expected
