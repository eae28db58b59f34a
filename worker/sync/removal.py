"""Delete the records of documents that no longer exist in MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bson import ObjectId

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, Failure, ItemRef, MediaDocument, Status
from worker.core.errors import MediaError, WaitError
from worker.core.ids import message_id
from worker.core.record_keys import tid_for
from worker.core.records import RemoteRecord
from worker.core.settings import RetrySettings
from worker.database.accounts import Accounts
from worker.database.document_refs import find_by_ref, find_namesakes
from worker.database.removals import Removal, Removals
from worker.database.store import DocumentStore
from worker.media import MediaType, media_type
from worker.pds.repo import Repo
from worker.sync.outcome import Outcome
from worker.sync.ownership import RecordNotProvenError
from worker.sync.retry import decide

_Document = TypeVar("_Document", bound=MediaDocument)


@dataclass(frozen=True, slots=True)
class Remover:
    """Deletes records; saves failed removals in `atproto_removals` for a retry."""

    store: DocumentStore
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
        return self._remove(item, removal, lambda repo: self._find_orphans(repo, kind, ids))

    def cancel(self, kind: MediaType, ids: Sequence[DocumentId], user: str) -> None:
        """Delete the saved removal of a document that exists."""
        self.removals.delete(Removal(kind.name, user, id=message_id(ids[0])))

    def remove_one(self, kind: MediaType, user: str, rkey: str) -> Outcome | MediaDocument:
        """Delete the record of `user` at `rkey`, or return its document, which is to be synced.

        The record is deleted if it names a document that is missing or another user's.
        """
        item = ItemRef(kind.name, f"of {user} at {rkey}")
        removal = Removal(kind.name, user, rkey=rkey)
        return self._remove(item, removal, lambda repo: self._find_orphan(repo, kind, user, rkey))

    def _find_orphans(
        self, repo: Repo, kind: MediaType, ids: Sequence[DocumentId]
    ) -> Sequence[RemoteRecord]:
        """Find the records that name a document with one of `ids`, if it is missing."""
        refs = {str(candidate) for candidate in ids}
        missing = {ref for ref in refs if find_by_ref(self.store, kind, ref) is None}
        return _find_records(repo, kind, ids, missing) if missing else []

    def _find_orphan(
        self, repo: Repo, kind: MediaType, user: str, rkey: str
    ) -> Sequence[RemoteRecord] | MediaDocument:
        """Return the document of the record at `rkey`, or else the record, if it exists.

        Raises RecordNotProvenError if the record names no document.
        """
        key = repo.key(kind.nsid, rkey)
        record = repo.get(key)
        if record and record.ref:
            for named in find_namesakes(self.store, kind, record.ref):
                is_here = (named.state.repo, named.state.rkey) == (key.repo, rkey)
                if is_here or named.owner == user:
                    return named
            return [record]
        holder = self.store.find_by_record(kind, key.repo, rkey)
        if record and holder is None:
            raise RecordNotProvenError(f"{key.uri} names no document: it is not deleted")
        return holder or []

    def _remove(
        self,
        item: ItemRef,
        removal: Removal,
        find: Callable[[Repo], Sequence[RemoteRecord] | _Document],
    ) -> Outcome | _Document:
        account = self.accounts.find(removal.user)
        if account is None:
            self.removals.delete(removal)
            message = f"{removal.user} has no account: there is no {item.type} to remove"
            return Outcome(item, None, message)
        repo, nsid = self.open_repo(account), media_type(item.type).nsid
        try:
            found = find(repo)
            for record in () if isinstance(found, MediaDocument) else found:
                repo.delete(repo.key(nsid, record.rkey), swap=record.cid)
        except MediaError as error:
            return self._postpone(item, removal, error, account.did)
        self.removals.delete(removal)
        if isinstance(found, MediaDocument):
            return found
        removed = ", ".join(repo.key(nsid, record.rkey).uri for record in found) or "nothing"
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


def _find_records(
    repo: Repo, kind: MediaType, ids: Sequence[DocumentId], refs: Collection[str]
) -> Sequence[RemoteRecord]:
    """Find the records with one of `refs`; the derived key is that of the first of `ids`."""
    if isinstance(ids[0], ObjectId):
        # Our own records are at the key derived from the id; others need a search.
        record = repo.get(repo.key(kind.nsid, tid_for(ids[0], now())))
        if record and record.ref in refs:
            return [record]
    return [record for record in repo.records(kind.nsid) if record.ref in refs]
