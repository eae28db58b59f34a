"""Delete the records of documents that no longer exist in MongoDB."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bson import ObjectId
from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import after, now
from worker.core.documents import Account, DocumentId, Failure, ItemRef, MediaDocument, Status
from worker.core.errors import (
    AccountError,
    MediaError,
    PermanentError,
    TimeLimitError,
    TransientError,
    UnexpectedError,
    WaitError,
)
from worker.core.ids import message_id
from worker.core.record_keys import tid_for
from worker.core.records import RecordKey, RemoteRecord
from worker.core.settings import RetrySettings
from worker.database.accounts import Accounts
from worker.database.adopted_repos import AdoptedRepos
from worker.database.document_refs import find_namesakes
from worker.database.removals import Progress, Removal, Removals, retry_interval
from worker.database.store import DocumentStore
from worker.database.thumbnail_cache import ThumbnailCache
from worker.media import MediaType, media_type
from worker.pds.repo import Repo
from worker.sync.outcome import Outcome
from worker.sync.ownership import RecordNotProvenError
from worker.sync.retry import decide

_Document = TypeVar("_Document", bound=MediaDocument)
_PAUSE = 60.0  # seconds between the runs of a search
_SEARCH = 40.0  # seconds of a run, after which it reads no further page


class DeletionUnconfirmedError(TransientError):
    """A majority of MongoDB's members still has the document."""

    step, code = "remove", "deletion_unconfirmed"

    def __init__(self) -> None:
        super().__init__("a majority of MongoDB's members has not confirmed the deletion yet")


class DocumentReturnedError(TransientError):
    """The document was inserted again while its record was looked up."""

    step, code = "remove", "document_returned"

    def __init__(self) -> None:
        super().__init__("the document exists again: its record is not removed")


class SearchUnfinishedError(WaitError):
    """The collection has more records than one run may read."""

    step, code = "remove", "search_unfinished"


class SearchEndlessError(PermanentError):
    """The collection has more records than a search may read in all its runs."""

    step, code = "remove", "search_endless"


@dataclass(frozen=True, slots=True)
class Remover:
    """Deletes records; saves removals in `atproto_removals` until they are done.

    A collection is searched with `open_bulk_repo`, whose calls leave a reserve of the rate limits
    to saves.
    """

    store: DocumentStore
    accounts: Accounts
    known: AdoptedRepos
    removals: Removals
    thumbnails: ThumbnailCache
    open_repo: Callable[[Account], Repo]
    open_bulk_repo: Callable[[Account], Repo]
    retry: RetrySettings
    pages: int = 50  # of 100 records; read by one run of a search
    max_pages: int = 100_000  # read by all runs of a search

    def remove_all_of(
        self, kind: MediaType, ids: Sequence[DocumentId], user: str | None
    ) -> Outcome:
        """Delete the records of `user` whose document has one of `ids`."""
        item = ItemRef(kind.name, ids[0])
        if user is None:
            message = "there is no such document; give its user to remove a record left behind"
            return Outcome(item, None, message, found=False)
        removal = Removal(kind.name, user, id=message_id(ids[0]))
        return self._remove(
            item, removal, lambda *found: self._find_orphans(removal, kind, ids, *found)
        )

    def expect(self, kind: MediaType, item: DocumentId, user: str, rkey: str | None = None) -> None:
        """Save the removal of a document's record, so that it is retried if this run ends."""
        self.removals.begin(Removal(kind.name, user, message_id(item), rkey))

    def cancel(self, kind: MediaType, ids: Sequence[DocumentId], user: str) -> None:
        """Delete the saved removal of a document that exists."""
        self.removals.delete(Removal(kind.name, user, id=message_id(ids[0])))

    def remove_one(self, kind: MediaType, user: str, rkey: str) -> Outcome | MediaDocument:
        """Delete the record of `user` at `rkey`, or return its document, which is to be synced.

        The record is deleted if it names a document that is missing or another user's.
        """
        item = ItemRef(kind.name, f"of {user} at {rkey}")
        removal = Removal(kind.name, user, rkey=rkey)
        return self._remove(
            item, removal, lambda account, _: self._find_orphan(account, kind, user, rkey)
        )

    def _find_orphans(
        self,
        removal: Removal,
        kind: MediaType,
        ids: Sequence[DocumentId],
        account: Account,
        progress: Progress,
    ) -> Sequence[RemoteRecord]:
        """Find the records that name a document of the user with one of `ids`, if it is missing.

        Raises SearchUnfinishedError if the search continues in another run, and
        RecordNotProvenError if the record at the saved key names no document.
        """
        named, user = {str(candidate) for candidate in ids}, removal.user
        refs = {ref for ref in named if not _is_owned(self.store, kind, user, ref)}
        majority = self.store.in_majority()
        if any(_is_owned(majority, kind, user, ref) for ref in refs):
            raise DeletionUnconfirmedError
        if not refs:
            return []
        repo, unproven = self.open_repo(account), None
        for rkey in _likely_rkeys(progress, ids):
            record = repo.get(repo.key(kind.nsid, rkey))
            if record and record.ref in refs:
                return [record]
            if record is None and rkey == progress.rkey:
                return []
            if record and record.ref is None and rkey == progress.rkey:
                unproven = record
        found = self._search(removal, progress, kind, account, refs)
        if unproven and not found:
            raise RecordNotProvenError(f"{unproven.uri} names no document: it is not deleted")
        return found

    def _search(
        self,
        removal: Removal,
        progress: Progress,
        kind: MediaType,
        account: Account,
        refs: Collection[str],
    ) -> Sequence[RemoteRecord]:
        """Search the next pages of a collection, and save the position after each."""
        repo, cursor, pages = self.open_bulk_repo(account), progress.cursor, progress.pages
        end, most = time.monotonic() + _SEARCH, min(pages + self.pages, self.max_pages)
        while pages < most and time.monotonic() < end:
            page = repo.page_below(kind.nsid, cursor)
            pages += 1
            if found := [record for record in page if record.ref in refs]:
                return found
            if not page:
                return []
            cursor = page[-1].rkey
            self.removals.save_search(removal, cursor, pages)
        if pages >= self.max_pages:
            raise SearchEndlessError(f"the record was not found on {pages} pages")
        message = f"the record was not found yet: the search continues below {cursor}"
        raise SearchUnfinishedError(message, until=after(_PAUSE))

    def _find_orphan(
        self, account: Account, kind: MediaType, user: str, rkey: str
    ) -> Sequence[RemoteRecord] | MediaDocument:
        """Return the document of the record at `rkey`, or else the record, if it exists.

        Raises RecordNotProvenError if the record names no document.
        """
        repo = self.open_repo(account)
        key = repo.key(kind.nsid, rkey)
        record = repo.get(key)
        if record and record.ref:
            if named := _find_named(self.store, kind, user, key, record.ref):
                return named
            if _find_named(self.store.in_majority(), kind, user, key, record.ref):
                raise DeletionUnconfirmedError
            return [record]
        holder = self.store.find_by_record(kind, key.repo, rkey)
        if record and holder is None:
            raise RecordNotProvenError(f"{key.uri} names no document: it is not deleted")
        return holder or []

    def _remove(
        self,
        item: ItemRef,
        removal: Removal,
        find: Callable[[Account, Progress], Sequence[RemoteRecord] | _Document],
    ) -> Outcome | _Document:
        """Delete the records that `find` returns, or return its document."""
        progress, account = self.removals.begin(removal), None
        try:
            account = self.accounts.find(removal.user)
            if account is None:
                return self._keep_or_drop(item, removal, progress)
            found = find(account, progress)
            removed = [] if isinstance(found, MediaDocument) else self._delete(account, item, found)
        except MediaError as error:
            return self._postpone(item, removal, progress, error, account)
        except SoftTimeLimitExceeded:
            slow = TimeLimitError.of("removal")
            return self._postpone(item, removal, progress, slow, account)
        except Exception as error:
            # Any other exception is a bug: the attempt is counted, and the task ends with it.
            self._postpone(item, removal, progress, UnexpectedError.of(error), account)
            raise
        self.removals.delete(removal)
        if isinstance(found, MediaDocument):
            return found
        names = ", ".join(removed) or "nothing"
        return Outcome(item, Status.REMOVED, f"no document; removed {names}")

    def _delete(
        self, account: Account, item: ItemRef, records: Sequence[RemoteRecord]
    ) -> Sequence[str]:
        """Delete records and their cached thumbnails; return their URIs.

        Raises DocumentReturnedError if a document exists before or after that: a document that was
        inserted again may have been synced meanwhile, and found its record current.
        """
        repo, kind = self.open_repo(account), media_type(item.type)
        keys = [repo.key(kind.nsid, record.rkey) for record in records]
        for key, record in zip(keys, records, strict=True):
            self._check_missing(kind, account, key, record)
            repo.delete(key, swap=record.cid)
            self._check_missing(kind, account, key, record)
        self.thumbnails.discard(cid for record in records for cid in record.blob_cids)
        return [key.uri for key in keys]

    def _check_missing(
        self, kind: MediaType, account: Account, key: RecordKey, record: RemoteRecord
    ) -> None:
        if _find_named(self.store, kind, account.subject, key, record.ref or ""):
            raise DocumentReturnedError

    def _keep_or_drop(self, item: ItemRef, removal: Removal, progress: Progress) -> Outcome:
        """Postpone the removal of a user without an account, unless there can be no record."""
        message = f"{removal.user} has no account"
        if progress.rkey is None and not self.known.has_had_account(removal.user):
            self.removals.delete(removal)
            return Outcome(item, None, f"{message}: there is no {item.type} to remove")
        until = now() + retry_interval(progress)
        error = AccountError(message, until=until, step="account", code="no_account")
        return self._postpone(item, removal, progress, error, None)

    def _postpone(
        self,
        item: ItemRef,
        removal: Removal,
        progress: Progress,
        error: MediaError,
        account: Account | None,
    ) -> Outcome:
        attempts = progress.attempts + (not isinstance(error, WaitError))
        decision = decide(error, attempts, self.retry, now())
        self.removals.postpone(removal, error, attempts, decision.retry_at)
        return Outcome(
            item,
            decision.status,
            f"could not be removed: {error.message}",
            retry_at=decision.retry_at,
            error=Failure.of(error, now()),
            did=account.did if account else None,
            attempt=attempts,
        )


def _is_owned(store: DocumentStore, kind: MediaType, user: str, ref: str) -> bool:
    """Return whether a document of `user` has the text `ref` as its `_id`."""
    return any(named.owner == user for named in find_namesakes(store, kind, ref))


def _find_named(
    store: DocumentStore, kind: MediaType, user: str, key: RecordKey, ref: str
) -> MediaDocument | None:
    """Return the document that the record of `user` at `key` names, if it may be its record."""
    for named in find_namesakes(store, kind, ref):
        if named.owner == user or (named.state.repo, named.state.rkey) == (key.repo, key.rkey):
            return named
    return None


def _likely_rkeys(progress: Progress, ids: Sequence[DocumentId]) -> Iterator[str]:
    """Yield the saved key of a record, and the key that we derive from its document's id."""
    if progress.rkey:
        yield progress.rkey
    if isinstance(ids[0], ObjectId):
        yield tid_for(ids[0], now())
