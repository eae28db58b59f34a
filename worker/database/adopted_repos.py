"""Remember the accounts whose existing records have been adopted.

The field `adopted` of an account in `atproto_accounts` is the DID of the adopted repo.
"""

from __future__ import annotations

from pymongo.database import Database

from worker.core.documents import Account
from worker.database.account_changes import COLLECTION
from worker.database.mongo import RawDocument, mongo_errors

_MAX_CACHED = 10_000


class AdoptedRepos:
    """The adopted repos in one database, cached in memory."""

    def __init__(self, database: Database[RawDocument]) -> None:
        self._accounts = database[COLLECTION]
        self._cached: set[tuple[str, str]] = set()

    def contains(self, account: Account) -> bool:
        """Return whether the records in the account's repo have been adopted."""
        key = (account.subject, account.did)
        if key in self._cached:
            return True
        with mongo_errors():
            found = self._accounts.find_one({"_id": account.subject, "adopted": account.did})
        if found:
            self._cache(key)
        return found is not None

    def add(self, account: Account) -> None:
        """Save that the records in the account's repo have been adopted."""
        # As a first visit of `AccountChanges`: the account counts as unchanged.
        known = {"did": account.did, "screenName": account.screen_name}
        update = {"$set": {"adopted": account.did}, "$setOnInsert": known}
        with mongo_errors():
            self._accounts.update_one({"_id": account.subject}, update, upsert=True)
        self._cache((account.subject, account.did))

    def _cache(self, key: tuple[str, str]) -> None:
        if len(self._cached) >= _MAX_CACHED:
            self._cached.clear()
        self._cached.add(key)
