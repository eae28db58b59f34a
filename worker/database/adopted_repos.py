"""Remember the accounts whose existing records have been adopted.

The field `adopted` of an account in `atproto_accounts` is the DID of the adopted repo. `reads` is
the number of reads of its repo, since `readAt` at most an hour ago, that did not end because their
worker died.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from pymongo.database import Database

from worker.core.clock import now
from worker.core.documents import Account
from worker.core.errors import PermanentError
from worker.database.account_changes import COLLECTION
from worker.database.mongo import RawDocument, mongo_errors

_MAX_CACHED = 10_000
_FORGOTTEN = timedelta(hours=1)  # a lost read no longer counts


class RepoReadLostError(PermanentError):
    """The workers that read the repo of an account died repeatedly."""

    step, code = "read", "worker_lost"


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

    def has_had_account(self, subject: str) -> bool:
        """Return whether a user has, or had, an account that was synced."""
        with mongo_errors():
            return self._accounts.find_one({"_id": subject}, {"_id": 1}) is not None

    def add(self, account: Account) -> None:
        """Save that the records in the account's repo have been adopted."""
        self._update(account, {"$set": {"adopted": account.did}})
        self._cache((account.subject, account.did))

    @contextmanager
    def reading(self, account: Account, most: int) -> Iterator[None]:
        """Count a read of the account's repo until it ends, successfully or not.

        Raises RepoReadLostError if the last `most` reads ended with the death of their worker.
        """
        with mongo_errors():
            known = self._accounts.find_one({"_id": account.subject}) or {}
        read_at = known.get("readAt")
        is_recent = isinstance(read_at, datetime) and read_at > now() - _FORGOTTEN
        reads = known.get("reads")
        lost = reads if is_recent and isinstance(reads, int) else 0
        if lost >= most:
            message = f"the worker died {lost} times while it read the repo of {account.did}"
            raise RepoReadLostError(message)
        self._update(account, {"$set": {"reads": lost + 1, "readAt": now()}})
        try:
            yield
        finally:
            self._update(account, {"$unset": {"reads": "", "readAt": ""}})

    def _update(self, account: Account, update: Mapping[str, Mapping[str, object]]) -> None:
        # As a first visit of `AccountChanges`: the account counts as unchanged.
        known = {"did": account.did, "screenName": account.screen_name}
        with mongo_errors():
            self._accounts.update_one(
                {"_id": account.subject}, {**update, "$setOnInsert": known}, upsert=True
            )

    def _cache(self, key: tuple[str, str]) -> None:
        if len(self._cached) >= _MAX_CACHED:
            self._cached.clear()
        self._cached.add(key)
