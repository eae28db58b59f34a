"""Find accounts whose DID or screen name has changed, and mark their items as due.

The collection `atproto_accounts` contains the DID and the screen name that the items of each
account were last synced for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice

from pymongo import UpdateMany, UpdateOne
from pymongo.database import Database

from worker.core.clock import now
from worker.core.documents import Account, Status
from worker.database.accounts import Accounts
from worker.database.backlog import CURSORS, OWNER
from worker.database.indexes import require_index
from worker.database.mongo import RawDocument, bulk_write, mongo_errors, stream
from worker.database.state import RESET_REASONS
from worker.database.store import GUEST_USERS, DocumentStore
from worker.media import MediaType

COLLECTION = "atproto_accounts"
_CURSOR = "@users"  # no media type can have this name
_PAGE = 500  # items marked by one call
_NO_CHANGES: Mapping[str, object] = {}
_PUBLISHED = (Status.SYNCED, Status.PARTIAL)
_WITH_RECORD = (*_PUBLISHED, Status.FAILED, Status.PENDING, None)
# In its first batch, an item has a lease and no status.
_UNSEEN: RawDocument = {"atproto.status": None, "atproto.lease": None}
_HELD: RawDocument = {"atproto.lease": {"$ne": None}}
# The next run of an item with `retryAt` reads the new account. A run that holds the item may have
# read the old one.
_TO_MARK: RawDocument = {
    "$or": [{"atproto.retryAt": None}, _HELD],
    "$expr": {"$eq": [{"$type": "$atproto"}, "object"]},
}


@dataclass(frozen=True, slots=True)
class AccountChange:
    """An account as it is now, and whether its DID or its screen name has changed."""

    account: Account
    has_new_did: bool
    has_new_name: bool


class AccountChanges:
    """Finds changed accounts, and marks their items."""

    def __init__(
        self, database: Database[RawDocument], accounts: Accounts, store: DocumentStore
    ) -> None:
        self._known = database[COLLECTION]
        self._cursors = database[CURSORS]
        self._accounts = accounts
        self._store = store

    def find(self, window: int) -> list[AccountChange]:
        """Return the changed accounts among the next `window` users; save new accounts.

        The position is saved in MongoDB: repeated calls cycle through all users.
        """
        with mongo_errors():
            cursor = self._cursors.find_one({"_id": _CURSOR})
        after = str(cursor["after"]) if cursor else ""
        accounts, after = self._accounts.scan(after, window)
        with mongo_errors():
            known = {
                raw["_id"]: (raw.get("did"), raw.get("screenName"))
                for raw in self._known.find({"_id": {"$in": [each.subject for each in accounts]}})
            }
            self._cursors.update_one({"_id": _CURSOR}, {"$set": {"after": after}}, upsert=True)
        self.save([each for each in accounts if each.subject not in known])
        seen = [(each, *known[each.subject]) for each in accounts if each.subject in known]
        changes = [AccountChange(a, a.did != did, a.screen_name != name) for a, did, name in seen]
        return [each for each in changes if each.has_new_did or each.has_new_name]

    def save(self, accounts: Sequence[Account]) -> None:
        """Save the DIDs and screen names that the items of accounts are synced for."""
        writes = [
            UpdateOne(
                {"_id": each.subject},
                {"$set": {"did": each.did, "screenName": each.screen_name}},
                upsert=True,
            )
            for each in accounts
        ]
        with mongo_errors():
            bulk_write(self._known, writes)

    def mark_in_other_repos(self, kind: MediaType, account: Account) -> int:
        """Mark the account's items with a record key in another repo; return how many."""
        other_repo = {"$type": "string", "$ne": account.did}
        in_other_repo = {"atproto.repo": other_repo, "$nor": [_UNSEEN]}
        return self._mark(kind, account.subject, _WITH_RECORD, in_other_repo)

    def mark_published(self, kind: MediaType, account: Account) -> int:
        """Mark the account's published items; return how many."""
        return self._mark(kind, account.subject, _PUBLISHED, {})

    def mark_synced_since(self, kind: MediaType, account: Account, moment: datetime) -> int:
        """Mark the account's items that were published or removed since then; return how many.

        Items that a run holds are marked, too: it may be writing to the old PDS.
        """
        since = {"atproto.syncedAt": {"$gte": moment}}
        not_reset = {"atproto.reason": {"$nin": [*RESET_REASONS]}}
        count = self._mark(kind, account.subject, _PUBLISHED, since)
        count += self._mark(kind, account.subject, _WITH_RECORD, _HELD)
        # With another status than `removed`, the next run deletes the record if it exists.
        pending = {"atproto.status": Status.PENDING.value}
        return count + self._mark(
            kind, account.subject, [Status.REMOVED], {**since, **not_reset}, pending
        )

    def _mark(
        self,
        kind: MediaType,
        subject: str,
        statuses: Sequence[Status | None],
        condition: Mapping[str, object],
        changes: Mapping[str, object] = _NO_CHANGES,
    ) -> int:
        """Mark items as due; a run that holds one syncs it again when it finishes."""
        owners = [subject, *(GUEST_USERS if subject == self._store.guest_subject else ())]
        status = {"$in": [each.value if each else None for each in statuses]}
        match = {"user": {"$in": owners}, "atproto.status": status, **_TO_MARK, **condition}
        marks = {"$set": {"atproto.again": True, "atproto.retryAt": now(), **changes}}
        collection, count = self._store.collection(kind), 0
        with require_index():
            found = collection.find(match, {"_id": 1}).hint(OWNER)
            ids = (raw["_id"] for raw in stream(partial(found.batch_size, _PAGE)))
            while page := list(islice(ids, _PAGE)):
                writes = [UpdateMany({"_id": {"$eq": each}}, marks) for each in page]
                # After an error the account stays unknown, and is marked again.
                count += bulk_write(collection, writes)
        return count
