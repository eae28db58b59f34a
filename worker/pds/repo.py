"""An account's repo: the calls that need its session, with expired and revoked tokens healed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from worker.core.documents import Account
from worker.core.errors import AccountError
from worker.core.records import RecordKey, RecordRef, RemoteRecord, UploadedBlob, Write
from worker.core.secrets import Secret
from worker.pds.client import PdsClient, Session
from worker.pds.errors import AccountUnusableError, SessionExpiredError
from worker.pds.routing import PdsHost, PdsHosts

T = TypeVar("T")


class Repo:
    """The repo of one account, wherever that lives.

    Methods raise AccountError once its session cannot be had, and DirectoryError when nobody
    knows where it lives.
    """

    def __init__(self, pds_hosts: PdsHosts, account: Account) -> None:
        self._pds_hosts = pds_hosts
        self._account = account
        self._host: PdsHost | None = None
        self._session: Session | None = None

    @property
    def did(self) -> str:
        """Return the DID that names the repo."""
        return self._account.did

    def key(self, collection: str, rkey: str) -> RecordKey:
        """Return the key of a record of this repo."""
        return RecordKey(self.did, collection, rkey)

    def is_active(self) -> bool:
        """Tell whether the account can be used, by its session: one that there is, if it holds."""
        return self._with_token(lambda pds, token: pds.is_active(token))

    def remaining_points(self) -> int | None:
        """Return how many points of writes it has left now; None when nobody counts them."""
        return self._pds_host().pds.remaining_points(self.did)

    def put(self, key: RecordKey, record: Mapping[str, object], swap: str | None) -> RecordRef:
        """Write a record as `Pds.put_record` does."""
        return self._with_token(lambda pds, token: pds.put_record(token, key, record, swap))

    def delete(self, key: RecordKey) -> None:
        """Delete a record; succeeds when there is none."""
        self._with_token(lambda pds, token: pds.delete_record(token, key))

    def apply(self, writes: Sequence[Write], swap: str) -> None:
        """Carry out all writes or none, as `Pds.apply_writes` does."""
        self._with_token(lambda pds, token: pds.apply_writes(token, self.did, writes, swap))

    def commit(self) -> str:
        """Return the CID of the present commit."""
        return self._follow_move(lambda host: host.pds.latest_commit(self.did))

    def export(self) -> bytes:
        """Return the whole repo as a CAR file."""
        return self._follow_move(lambda host: host.pds.get_repo(self.did))

    def upload(self, data: bytes, mime_type: str) -> UploadedBlob:
        """Upload a blob."""
        return self._with_token(lambda pds, token: pds.upload_blob(token, data, mime_type))

    def get(self, key: RecordKey) -> RemoteRecord | None:
        """Return a record as it is now, or None."""
        return self._pds_host().pds.get_record(key)

    def records(self, collection: str) -> Iterator[RemoteRecord]:
        """Go through all records of a collection, newest key first."""
        cursor: str | None = None
        while True:
            page, cursor = self._page(collection, cursor)
            yield from page
            if not page or cursor is None:
                return

    def records_between(self, collection: str, first: str, last: str) -> Iterator[RemoteRecord]:
        """Go through the records whose keys lie between two keys, both included."""
        cursor: str | None = first[:-1]  # below the first key, with little in between
        while cursor is not None:
            page, cursor = self._page(collection, cursor, ascending=True)
            yield from (record for record in page if first <= record.rkey <= last)
            if not page or page[-1].rkey >= last:
                return

    def _page(
        self, collection: str, cursor: str | None, *, ascending: bool = False
    ) -> tuple[list[RemoteRecord], str | None]:
        pds = self._pds_host().pds
        return pds.list_records(self.did, collection, cursor, ascending=ascending)

    def _pds_host(self) -> PdsHost:
        if self._host is None:
            self._host = self._pds_hosts.for_did(self.did)
        return self._host

    def _with_token(self, call: Callable[[PdsClient, Secret], T]) -> T:
        return self._follow_move(partial(self._with_session, call))

    def _with_session(self, call: Callable[[PdsClient, Secret], T], host: PdsHost) -> T:
        """Make a call with the account's session, renewed or replaced if the PDS rejects it."""
        session = self._session or host.sessions.get(self._account)
        for renew in (host.sessions.renew, host.sessions.replace):
            self._session = session  # kept, because each look at Redis costs a decryption
            try:
                return call(host.pds, session.access)
            except SessionExpiredError:
                session = renew(self._account, session)
        self._session = session
        return call(host.pds, session.access)

    def _follow_move(self, call: Callable[[PdsHost], T]) -> T:
        """Make a call, and once more at the account's new PDS if it has moved there."""
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
        """Park the account if the PDS reports it as unusable; raises AccountError."""
        try:
            yield
        except AccountUnusableError as fault:
            raise host.sessions.park(self._account, fault) from fault
