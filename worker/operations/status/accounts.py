"""Find blocked accounts, the error of each, and the number of pending items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from worker.core.documents import Account, OwnedItem, Status, SyncState
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
        accounts = {each.subject: each for each in self.accounts.by_dids(self.parking.dids())}
        accounts |= self._accounts_of(pending.keys() - accounts.keys())
        parked = self._find_parked(list(accounts.values()))
        return _sorted(
            _make_blocked(subject, accounts.get(subject), each, parked)
            for subject, each in (dict.fromkeys(accounts, _Pending()) | pending).items()
        )

    def without_redis(self) -> list[BlockedAccount]:
        """Return the blocked accounts that have pending items, without the state in Redis."""
        pending = self._count_pending()
        accounts = self._accounts_of(pending)
        return _sorted(
            BlockedAccount(
                subject, accounts.get(subject), each.code, each.message, None, each.count
            )
            for subject, each in pending.items()
        )

    def _accounts_of(self, subjects: Iterable[str]) -> dict[str, Account]:
        return {each.subject: each for each in self.accounts.find_all(subjects)}

    def _find_parked(self, accounts: Sequence[Account]) -> dict[str, Parked | None]:
        """Return the parking of accounts by subject; those without a known PDS are left out."""
        return {
            account.subject: parked
            for host, group in self.pds_hosts.group_by_host(accounts)
            for account, parked in zip(group, host.sessions.find_all_parked(group), strict=True)
        }

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


def _make_blocked(
    subject: str, account: Account | None, pending: _Pending, known: Mapping[str, Parked | None]
) -> BlockedAccount | None:
    """Build a blocked account, or return None if it is only parked under a former password."""
    parked = known.get(subject)
    fault = parked or pending
    if not fault.code:
        return None
    return BlockedAccount(
        subject,
        account,
        fault.code,
        fault.message,
        parked,
        pending.count,
        pending.retry_at,
        is_resolved=subject in known and parked is None,
    )


def _sorted(found: Iterable[BlockedAccount | None]) -> list[BlockedAccount]:
    """Return the accounts ordered by pending items, most first."""
    blocked = (account for account in found if account)
    return sorted(blocked, key=lambda account: (-account.waiting, account.subject))
