"""Read and write an account's repo, with a session renewed when it expires."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count
from typing import TypeVar
from urllib.parse import urlsplit

from worker.core.documents import Account
from worker.core.errors import AccountError, TransientError
from worker.core.records import RecordKey, RecordRef, RemoteRecord, UploadedBlob, Write
from worker.core.secrets import Secret
from worker.pds.client import PdsClient, Session
from worker.pds.errors import AccountUnusableError, SessionExpiredError
from worker.pds.repo_snapshot import RepoSnapshot
from worker.pds.routing import PdsHost, PdsHosts

T = TypeVar("T")
_FREE_PAGES = 20  # of any size
_RECORDS_PER_PAGE = 10  # on average; a page of the reference PDS has 100


class Repo:
    """Reads and writes the repo of one account at its current PDS.

    Methods call the matching PdsClient methods, with the account's session where needed. They also
    raise AccountError if the account cannot log in, and the errors of PdsResolver.
    """

    def __init__(self, pds_hosts: PdsHosts, account: Account) -> None:
        self._pds_hosts = pds_hosts
        self._account = account
        self._host: PdsHost | None = None
        self._session: Session | None = None

    @property
    def did(self) -> str:
        return self._account.did

    @property
    def host(self) -> str:
        """Return the name of the account's PDS host; raises the errors of PdsResolver."""
        return urlsplit(self._pds_host().pds.url).netloc

    def hold_waiting(self, step: str) -> AbstractContextManager[object]:
        """Hold the waiting slot of the account's PDS host, if it is foreign."""
        return self._pds_host().pds.hold_waiting(step)

    def key(self, collection: str, rkey: str) -> RecordKey:
        return RecordKey(self.did, collection, rkey)

    def is_active(self) -> bool:
        """Return whether the PDS reports the account as active."""
        return self._with_token(lambda pds, token: pds.is_active(token))

    def remaining_points(self) -> int | None:
        return self._pds_host().pds.remaining_points(self.did)

    def put(self, key: RecordKey, record: Mapping[str, object], swap: str | None) -> RecordRef:
        return self._with_token(lambda pds, token: pds.put_record(token, key, record, swap))

    def delete(self, key: RecordKey, swap: str | None = None) -> None:
        self._with_token(lambda pds, token: pds.delete_record(token, key, swap))

    def apply(self, writes: Sequence[Write], swap: str) -> None:
        self._with_token(lambda pds, token: pds.apply_writes(token, self.did, writes, swap))

    def commit(self) -> str:
        return self._follow_move(lambda host: host.pds.latest_commit(self.did))

    def export(self) -> RepoSnapshot:
        return self._follow_move(lambda host: host.pds.get_repo(self.did))

    def upload(self, data: bytes, mime_type: str) -> UploadedBlob:
        return self._with_token(lambda pds, token: pds.upload_blob(token, data, mime_type))

    def get(self, key: RecordKey) -> RemoteRecord | None:
        return self._follow_move(lambda host: host.pds.get_record(key))

    def has_blob(self, cid: str) -> bool:
        """Return whether the PDS can send a blob; a list of blobs contains missing ones too."""
        return self._pds_host().pds.get_blob(self.did, cid) is not None

    def records(self, collection: str) -> Iterator[RemoteRecord]:
        """Yield all records of a collection, highest key first."""
        for page in self._pages(collection):
            yield from page

    def records_between(self, collection: str, first: str, last: str) -> Iterator[RemoteRecord]:
        """Yield the records with keys from `first` to `last`, both included."""
        below = first[:-1]  # a page begins after its cursor
        for page in self._pages(collection, below, ascending=True):
            yield from (record for record in page if first <= record.rkey <= last)
            if page[-1].rkey >= last:
                return

    def page_below(self, collection: str, rkey: str | None) -> list[RemoteRecord]:
        """Return up to 100 records with keys below `rkey` (None: of the highest keys).

        Raises TransientError if the PDS returns other keys.
        """
        page, _ = self._pds_host().pds.list_records(self.did, collection, rkey)
        if page and not _advances(rkey, page[0].rkey, ascending=False):
            raise _endless_list()
        return page

    def _pages(
        self, collection: str, cursor: str | None = None, *, ascending: bool = False
    ) -> Iterator[list[RemoteRecord]]:
        """Yield the pages of a collection that are not empty.

        Raises TransientError if a page or its cursor does not advance, or if the pages have fewer
        than 10 records on average. So a PDS cannot send the same or tiny pages without end.
        """
        pds, total = self._pds_host().pds, 0
        last: str | None = None
        for number in count(1):
            page, following = pds.list_records(self.did, collection, cursor, ascending=ascending)
            if not page:
                return
            total += len(page)
            too_many = number > _FREE_PAGES and number * _RECORDS_PER_PAGE > total
            if too_many or not _advances(last, page[0].rkey, ascending=ascending):
                raise _endless_list()
            yield page
            if following is None:
                return
            if following == cursor:
                raise _endless_list()
            last, cursor = page[-1].rkey, following

    def _pds_host(self) -> PdsHost:
        if self._host is None:
            self._host = self._pds_hosts.for_did(self.did)
        return self._host

    def _with_token(self, call: Callable[[PdsClient, Secret], T]) -> T:
        return self._follow_move(partial(self._with_session, call))

    def _with_session(self, call: Callable[[PdsClient, Secret], T], host: PdsHost) -> T:
        """Call the PDS with a session. Renew or replace it if the PDS rejects it."""
        session = self._session or host.sessions.get(self._account)
        for renew in (host.sessions.renew, host.sessions.replace):
            self._session = session  # cached, because reading it from Redis needs a decryption
            try:
                return call(host.pds, session.access)
            except SessionExpiredError:
                session = renew(self._account, session)
        self._session = session
        return call(host.pds, session.access)

    def _follow_move(self, call: Callable[[PdsHost], T]) -> T:
        """Call the PDS. On an AccountError, retry at the account's new PDS, if any."""
        host = self._pds_host()
        try:
            with self._parking(host):
                return call(host)
        except AccountError:
            newer = self._pds_hosts.find_new_host(self.did, host)
            if newer is None:
                raise
        self._host, self._session = newer, None
        with self._parking(newer):
            return call(newer)

    @contextmanager
    def _parking(self, host: PdsHost) -> Iterator[None]:
        """Park the account on an AccountUnusableError, and raise AccountError instead."""
        try:
            yield
        except AccountUnusableError as fault:
            raise host.sessions.park(self._account, fault) from fault


def _endless_list() -> TransientError:
    message = "the PDS lists the records of the repo without end"
    return TransientError(message, step="read", code="pds_answer_garbled")


def _advances(last: str | None, first: str, *, ascending: bool) -> bool:
    """Return whether the key `first` follows the `last` key of the previous page."""
    return last is None or (first > last if ascending else first < last)
