"""Removing records whose documents are gone from MongoDB altogether."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, Failure, Status
from worker.core.errors import MediaError
from worker.core.record_keys import tid_for
from worker.core.records import RecordKey
from worker.core.settings import RetrySettings
from worker.database.accounts import Accounts
from worker.database.removals import Removal, Removals
from worker.media import MediaType
from worker.pds.repo import Repo
from worker.sync.retry import decide


@dataclass(frozen=True, slots=True)
class RemovalResult:
    """What became of a removal: done, put off until `retry_at`, given up, or nothing to do.

    `found` is False when not even the user is known whose record it would have been.
    """

    detail: str
    status: Status | None = None
    retry_at: datetime | None = None
    error: Failure | None = None
    did: str | None = None
    attempts: int = 0
    found: bool = True


class Remover:
    """Removes records of documents that are no longer there."""

    def __init__(
        self,
        accounts: Accounts,
        removals: Removals,
        open_repo: Callable[[Account], Repo],
        retry: RetrySettings,
    ) -> None:
        self._accounts = accounts
        self._removals = removals
        self._open_repo = open_repo
        self._retry = retry

    def remove_all_of(
        self, kind: MediaType, ids: Sequence[DocumentId], user: str | None
    ) -> RemovalResult:
        """Remove every record of a user that names one of these ids."""
        if user is None:
            message = "there is no such document; give its user to remove a record left behind"
            return RemovalResult(message, found=False)
        removal = _removal_of(kind, ids, user)
        return self._remove_records(removal, kind, lambda repo: _find_records(repo, kind, ids))

    def cancel(self, kind: MediaType, ids: Sequence[DocumentId], user: str) -> None:
        """Forget a removal, should one be kept, because the document is there after all."""
        self._removals.delete(_removal_of(kind, ids, user))

    def remove_one(self, kind: MediaType, user: str, rkey: str) -> RemovalResult:
        """Remove one record of a user by its rkey."""
        removal = Removal(kind.name, user, rkey=rkey)
        return self._remove_records(removal, kind, lambda repo: [repo.key(kind.nsid, rkey)])

    def _remove_records(
        self,
        removal: Removal,
        kind: MediaType,
        find: Callable[[Repo], list[RecordKey]],
    ) -> RemovalResult:
        account = self._accounts.find(removal.user)
        if account is None:
            self._removals.delete(removal)
            return RemovalResult(
                f"{removal.user} has no account: there is no {kind.name} to remove"
            )
        repo = self._open_repo(account)
        try:
            keys = find(repo)
            for key in keys:
                repo.delete(key)
        except MediaError as error:
            return self._postpone(removal, error, account.did)
        self._removals.delete(removal)
        removed = ", ".join(key.uri for key in keys) or "nothing"
        return RemovalResult(f"no document; removed {removed}", Status.REMOVED)

    def _postpone(self, removal: Removal, error: MediaError, did: str) -> RemovalResult:
        attempts = self._removals.attempts(removal) + 1
        decision = decide(error, attempts, self._retry, now())
        self._removals.postpone(removal, error, attempts, decision.retry_at)
        return RemovalResult(
            detail=f"could not be removed: {error.message}",
            status=decision.status,
            retry_at=decision.retry_at,
            error=Failure.of(error, now()),
            did=did,
            attempts=attempts,
        )


def _removal_of(kind: MediaType, ids: Sequence[DocumentId], user: str) -> Removal:
    first = ids[0]
    return Removal(kind.name, user, id=first if isinstance(first, int) else str(first))


def _find_records(repo: Repo, kind: MediaType, ids: Sequence[DocumentId]) -> list[RecordKey]:
    """Return the keys of the records that name one of the ids in `ref`."""
    refs = {str(candidate) for candidate in ids}
    if isinstance(ids[0], ObjectId):
        # Our own records are where their ids lead to; only those of others need a search.
        derived = repo.key(kind.nsid, tid_for(ids[0], now()))
        record = repo.get(derived)
        if record and record.value.get("ref") in refs:
            return [derived]
    return [
        repo.key(kind.nsid, record.rkey)
        for record in repo.records(kind.nsid)
        if record.value.get("ref") in refs
    ]
