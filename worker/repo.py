"""An account's repo: the calls that need its session, with expired and revoked tokens healed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from worker.documents import Account
from worker.pds import Pds, Session
from worker.pds_errors import AccountFaultError, SessionExpiredError
from worker.records import RecordKey, RecordRef, RemoteRecord, UploadedBlob, Write
from worker.secrets import Secret
from worker.sessions import Sessions

T = TypeVar("T")


class Repo:
    """The repo of one account. Methods raise AccountError once its session cannot be had."""

    def __init__(self, pds: Pds, sessions: Sessions, account: Account) -> None:
        self._pds = pds
        self._sessions = sessions
        self._account = account
        self._session: Session | None = None

    @property
    def did(self) -> str:
        """Return the DID that names the repo."""
        return self._account.did

    def key(self, collection: str, rkey: str) -> RecordKey:
        """Return the key of a record of this repo."""
        return RecordKey(self.did, collection, rkey)

    def put(self, key: RecordKey, record: Mapping[str, object], swap: str | None) -> RecordRef:
        """Write a record as `Pds.put_record` does."""
        return self._authorised(lambda token: self._pds.put_record(token, key, record, swap))

    def delete(self, key: RecordKey) -> None:
        """Delete a record; succeeds when there is none."""
        self._authorised(lambda token: self._pds.delete_record(token, key))

    def apply(self, writes: Sequence[Write], swap: str) -> None:
        """Carry out all writes or none, as `Pds.apply_writes` does."""
        self._authorised(lambda token: self._pds.apply_writes(token, self.did, writes, swap))

    def commit(self) -> str:
        """Return the CID of the present commit."""
        return self._parking(lambda: self._pds.latest_commit(self.did))

    def export(self) -> bytes:
        """Return the whole repo as a CAR file."""
        return self._parking(lambda: self._pds.get_repo(self.did))

    def upload(self, data: bytes, mime_type: str) -> UploadedBlob:
        """Upload a blob."""
        return self._authorised(lambda token: self._pds.upload_blob(token, data, mime_type))

    def get(self, key: RecordKey) -> RemoteRecord | None:
        """Return a record as it is now, or None."""
        return self._pds.get_record(key)

    def records(self, collection: str) -> Iterator[RemoteRecord]:
        """Go through all records of a collection, newest key first."""
        cursor: str | None = None
        while True:
            page, cursor = self._pds.list_records(self.did, collection, cursor)
            yield from page
            if not page or cursor is None:
                return

    def records_between(self, collection: str, first: str, last: str) -> Iterator[RemoteRecord]:
        """Go through the records whose keys lie between two keys, both included."""
        cursor: str | None = first[:-1]  # below the first key, with little in between
        while cursor is not None:
            page, cursor = self._pds.list_records(self.did, collection, cursor, ascending=True)
            yield from (record for record in page if first <= record.rkey <= last)
            if not page or page[-1].rkey >= last:
                return

    def _authorised(self, call: Callable[[Secret], T]) -> T:
        return self._parking(lambda: self._with_session(call))

    def _with_session(self, call: Callable[[Secret], T]) -> T:
        session = self._session or self._sessions.get(self._account)
        renewals: tuple[Callable[[Account, Session], Session], ...]
        renewals = (self._sessions.renew, self._sessions.replace)
        for renew in renewals:
            self._session = session  # kept, because each look at Redis costs a decryption
            try:
                return call(session.access)
            except SessionExpiredError:
                session = renew(self._account, session)
        self._session = session
        return call(session.access)

    def _parking(self, call: Callable[[], T]) -> T:
        """Make a call; park the account for its fault."""
        try:
            return call()
        except AccountFaultError as fault:
            raise self._sessions.park(self._account, fault) from fault
