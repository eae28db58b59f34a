"""Delete the records of documents that no longer exist in MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bson import ObjectId

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, Failure, ItemRef, Status
from worker.core.errors import MediaError, WaitError
from worker.core.ids import message_id
from worker.core.record_keys import tid_for
from worker.core.records import RecordKey
from worker.core.settings import RetrySettings
from worker.database.accounts import Accounts
from worker.database.removals import Removal, Removals
from worker.media import MediaType
from worker.pds.repo import Repo
from worker.sync.outcome import Outcome
from worker.sync.retry import decide


@dataclass(frozen=True, slots=True)
class Remover:
    """Deletes records; saves failed removals in `atproto_removals` for a retry."""

    accounts: Accounts
    removals: Removals
    open_repo: Callable[[Account], Repo]
    retry: RetrySettings

    def remove_all_of(
        self, kind: MediaType, ids: Sequence[DocumentId], user: str | None
    ) -> Outcome:
        """Delete the records of `user` whose document has one of `ids`."""
        item = ItemRef(kind.name, ids[0])
        if user is None:
            message = "there is no such document; give its user to remove a record left behind"
            return Outcome(item, None, message, found=False)
        removal = Removal(kind.name, user, id=message_id(ids[0]))
        return self._remove(item, removal, lambda repo: _find_records(repo, kind, ids))

    def cancel(self, kind: MediaType, ids: Sequence[DocumentId], user: str) -> None:
        """Delete the saved removal of a document that exists."""
        self.removals.delete(Removal(kind.name, user, id=message_id(ids[0])))

    def remove_one(self, kind: MediaType, user: str, rkey: str) -> Outcome:
        item = ItemRef(kind.name, f"of {user} at {rkey}")
        removal = Removal(kind.name, user, rkey=rkey)
        return self._remove(item, removal, lambda repo: [repo.key(kind.nsid, rkey)])

    def _remove(
        self, item: ItemRef, removal: Removal, find: Callable[[Repo], list[RecordKey]]
    ) -> Outcome:
        account = self.accounts.find(removal.user)
        if account is None:
            self.removals.delete(removal)
            message = f"{removal.user} has no account: there is no {item.type} to remove"
            return Outcome(item, None, message)
        repo = self.open_repo(account)
        try:
            keys = find(repo)
            for key in keys:
                repo.delete(key)
        except MediaError as error:
            return self._postpone(item, removal, error, account.did)
        self.removals.delete(removal)
        removed = ", ".join(key.uri for key in keys) or "nothing"
        return Outcome(item, Status.REMOVED, f"no document; removed {removed}")

    def _postpone(self, item: ItemRef, removal: Removal, error: MediaError, did: str) -> Outcome:
        attempts = self.removals.attempts(removal) + (not isinstance(error, WaitError))
        decision = decide(error, attempts, self.retry, now())
        self.removals.postpone(removal, error, attempts, decision.retry_at)
        return Outcome(
            item,
            decision.status,
            f"could not be removed: {error.message}",
            retry_at=decision.retry_at,
            error=Failure.of(error, now()),
            did=did,
            attempt=attempts,
        )


def _find_records(repo: Repo, kind: MediaType, ids: Sequence[DocumentId]) -> list[RecordKey]:
    """Find the records whose document has one of `ids`; return their keys."""
    refs = {str(candidate) for candidate in ids}
    if isinstance(ids[0], ObjectId):
        # Our own records are at the key derived from the id; others need a search.
        derived = repo.key(kind.nsid, tid_for(ids[0], now()))
        record = repo.get(derived)
        if record and record.ref in refs:
            return [derived]
    return [
        repo.key(kind.nsid, record.rkey) for record in repo.records(kind.nsid) if record.ref in refs
    ]
