"""The decision table, without any call."""

from __future__ import annotations

from worker.documents import Account, ItemRef, MediaDocument, Status, SyncState
from worker.fields import Fields
from worker.media import media_type
from worker.plan import Nothing, Plan, Publish, Remove, Skip, plan
from worker.records import RecordKey
from worker.secrets import Secret

ACCOUNT = Account("auth0|1", "did:plc:mine", "ada.test", Secret("x"))


def decide(
    type_name: str = "painting",
    *,
    state: SyncState | None = None,
    gone: str | None = None,
    guest: bool = False,
    account: Account | None = ACCOUNT,
) -> Plan:
    """Plan for a document with this state."""
    document = MediaDocument(
        ref=ItemRef(type_name, "1"),
        owner="art-guest" if guest else "auth0|1",
        is_guest=guest,
        gone=gone,
        fields=Fields({}),
        state=state or SyncState(),
    )
    return plan(media_type(type_name), document, account)


def test_a_new_item_is_published_to_its_owners_account() -> None:
    """The usual case."""
    assert decide() == Publish(ACCOUNT)


def test_a_published_item_is_looked_at_again() -> None:
    """Whether there is anything to write is found out by building the record."""
    assert decide(state=SyncState(status=Status.SYNCED, repo="did:plc:mine", rkey="3a")) == Publish(
        ACCOUNT
    )


def test_an_item_given_to_another_user_leaves_the_old_repo_first() -> None:
    """A guest's painting claimed at sign-up moves, it is not published twice."""
    state = SyncState(status=Status.SYNCED, repo="did:plc:guests", rkey="3a")
    assert decide(state=state) == Publish(ACCOUNT, moved_from="did:plc:guests")


def test_a_guests_mood_is_skipped() -> None:
    """Guests have no moods on ATProto."""
    assert decide("mood", guest=True) == Skip("guests_not_published")


def test_an_item_without_an_account_is_skipped_with_the_reason() -> None:
    """The sweep looks for exactly this reason when accounts appear."""
    assert decide(account=None) == Skip("no_account")


def test_a_nuked_item_is_removed_from_the_repo_its_rkey_is_reserved_in() -> None:
    """Even when nothing says that a write succeeded: it may have."""
    state = SyncState(status=Status.PENDING, repo="did:plc:old", rkey="3a")
    assert decide(state=state, gone="nuked") == Remove(
        RecordKey("did:plc:old", "computer.aesthetic.painting", "3a")
    )


def test_a_nuked_legacy_item_is_removed_from_its_owners_repo() -> None:
    """A legacy document has an rkey and says no more."""
    assert decide(state=SyncState(rkey="3a"), gone="nuked") == Remove(
        RecordKey("did:plc:mine", "computer.aesthetic.painting", "3a")
    )


def test_an_item_nuked_before_it_was_published_is_skipped() -> None:
    """There is nothing to remove."""
    assert decide(gone="nuked") == Skip("nuked")


def test_a_removed_item_stays_removed() -> None:
    """A second run of a nuke asks nothing of the PDS."""
    state = SyncState(status=Status.REMOVED, repo="did:plc:mine", rkey="3a")
    assert decide(state=state, gone="nuked") == Nothing()
