"""Find blocked accounts, the error of each, and the number of pending items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from worker.core.documents import Account, OwnedItem, Status, SyncState
from worker.core.errors import MediaError
from worker.database.accounts import Accounts
from worker.database.backlog import TROUBLE
from worker.database.indexes import require_index
from worker.database.mongo import RawDocument, stream
from worker.database.state import parse_state
from worker.database.store import DocumentStore
from worker.media import MEDIA_TYPES
from worker.operations.error_help import ACCOUNT_CODES
from worker.pds.parking import Parked, Parking
from worker.pds.routing import PdsHosts

_CHUNK = 1000  # documents; by default, MongoDB sends batches of 16 MB
_REFUSED = [f"pds_{status}" for status in range(400, 500)]  # of a login; other calls: other steps
_WAITING: RawDocument = {
    "atproto.status": Status.PENDING.value,
    "atproto.error.code": {"$in": [*ACCOUNT_CODES, *_REFUSED]},
    "atproto.error.step": "account",
}


@dataclass(frozen=True, slots=True)
class BlockedAccount:
    """An account that is parked, or that has pending items with an account error.

    `waiting` is the number of these items, and `retry_at` the time at which the first of them is
    due. `parked` is None if the account is not parked. `is_resolved` means that it can be used
    again, for example with another password: the items are retried when they are due.
    """

    subject: str
    account: Account | None
    code: str
    message: str
    parked: Parked | None
    waiting: int
    retry_at: datetime | None = None
    is_resolved: bool = False

    @property
    def until(self) -> datetime | None:
        return self.parked.until if self.parked else None

    @property
    def lasts_until_changed(self) -> bool:
        return self.parked is not None and self.parked.lasts_until_changed


@dataclass(slots=True)
class _Pending:
    """The pending items of an owner: their number, first error and earliest retry."""

    count: int = 0
    code: str = ""
    message: str = ""
    retry_at: datetime | None = None

    def add(self, state: SyncState) -> None:
        self.count += 1
        if state.error and not self.code:
            self.code, self.message = state.error.code, state.error.message
        if state.retry_at and (self.retry_at is None or state.retry_at < self.retry_at):
            self.retry_at = state.retry_at


@dataclass(frozen=True, slots=True)
class BlockedAccounts:
    """Finds blocked accounts from pending items in MongoDB and parking in Redis.

    Reads one document per pending item. Methods raise StoreUnavailableError, and PermanentError
    for a missing index; `all` also raises RedisUnavailableError, and `without_redis` does not.
    """

    store: DocumentStore
    accounts: Accounts
    pds_hosts: PdsHosts
    parking: Parking

    def all(self) -> list[BlockedAccount]:
        """Return the blocked accounts, ordered by pending items, most first."""
        pending = self._count_pending()
        parked = (self.accounts.by_did(did) for did in self.parking.dids())
        subjects = {*pending, *(account.subject for account in parked if account)}
        return _sorted(
            self._make_blocked(subject, pending.get(subject, _Pending())) for subject in subjects
        )

    def without_redis(self) -> list[BlockedAccount]:
        """Return the blocked accounts that have pending items, without the state in Redis."""
        return _sorted(
            BlockedAccount(
                subject, self.accounts.find(subject), each.code, each.message, None, each.count
            )
            for subject, each in self._count_pending().items()
        )

    def _count_pending(self) -> dict[str, _Pending]:
        """Count the pending items by owner."""
        pending: dict[str, _Pending] = defaultdict(_Pending)
        for item, state in self._pending():
            pending[item.owner].add(state)
        return {owner: each for owner, each in pending.items() if each.code}

    def waiting_for(self, subject: str) -> Iterator[OwnedItem]:
        """Iterate over a user's pending items that have an account error."""
        return (item for item, _ in self._pending() if item.owner == subject)

    def _pending(self) -> Iterator[tuple[OwnedItem, SyncState]]:
        fields = {"user": 1, "atproto.error": 1, "atproto.retryAt": 1}
        for kind in MEDIA_TYPES.values():
            with require_index():
                found = self.store.collection(kind).find(_WAITING, fields).hint(TROUBLE)
                for raw in stream(partial(found.batch_size, _CHUNK)):
                    yield self.store.to_owned_item(kind, raw), parse_state(raw.get("atproto"))

    def _make_blocked(self, subject: str, pending: _Pending) -> BlockedAccount | None:
        account = self.accounts.find(subject)
        parked, is_usable = self._read_parked(account)
        known = parked or pending
        if not known.code:
            return None  # only parked under a former password
        return BlockedAccount(
            subject,
            account,
            known.code,
            known.message,
            parked,
            pending.count,
            pending.retry_at,
            is_resolved=is_usable,
        )

    def _read_parked(self, account: Account | None) -> tuple[Parked | None, bool]:
        """Return the parking of an account, and whether it can be used."""
        if account is None:
            return None, False
        try:
            parked = self.pds_hosts.for_did(account.did).sessions.find_parked(account)
        except MediaError as error:
            if error.step == "account":
                return None, False  # an account without a known PDS is not parked
            raise
        return parked, parked is None


def _sorted(found: Iterable[BlockedAccount | None]) -> list[BlockedAccount]:
    """Return the accounts ordered by pending items, most first."""
    blocked = (account for account in found if account)
    return sorted(blocked, key=lambda account: (-account.waiting, account.subject))
