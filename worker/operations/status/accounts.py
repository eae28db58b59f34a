"""Accounts that cannot be used: the reason, until when, and the number of pending items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from worker.core.documents import Account, Failure, OwnedItem, Status
from worker.core.errors import MediaError
from worker.database.accounts import Accounts
from worker.database.backlog import TROUBLE
from worker.database.indexes import require_index
from worker.database.mongo import RawDocument
from worker.database.state import parse_state
from worker.database.store import DocumentStore
from worker.media import MEDIA_TYPES, MediaType
from worker.operations.error_help import ACCOUNT_CODES
from worker.pds.parking import Parked, Parking
from worker.pds.routing import PdsHosts

_CHUNK = 1000  # by default, MongoDB sends batches of 16 MB
_WAITING: RawDocument = {
    "atproto.status": Status.PENDING.value,
    "atproto.error.code": {"$in": list(ACCOUNT_CODES)},
}


@dataclass(frozen=True, slots=True)
class BlockedAccount:
    """An account that cannot be used, or could not at the last attempt for one of its items.

    `parked` is None once the parking has ended: its items are tried when they are due.
    """

    subject: str
    account: Account | None
    code: str
    message: str
    parked: Parked | None
    waiting: int

    @property
    def until(self) -> datetime | None:
        """Return until when the account is parked."""
        return self.parked.until if self.parked else None


@dataclass(slots=True)
class _Waiting:
    counts: Counter[str] = field(default_factory=Counter)
    errors: dict[str, Failure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BlockedAccounts:
    """Finds blocked accounts by their pending items and by the parking in Redis.

    Reads one document per pending item; raises as ItemCounts does, and RedisUnavailableError.
    """

    store: DocumentStore
    accounts: Accounts
    pds_hosts: PdsHosts
    parking: Parking

    def all(self) -> list[BlockedAccount]:
        """Return the blocked accounts, those with most pending items first."""
        waiting = self._waiting()
        parked = (self.accounts.by_did(did) for did in self.parking.dids())
        subjects = {*waiting.counts, *(account.subject for account in parked if account)}
        found = filter(None, (self._make_blocked(subject, waiting) for subject in subjects))
        return sorted(found, key=lambda blocked: (-blocked.waiting, blocked.subject))

    def waiting_for(self, subject: str) -> Iterator[OwnedItem]:
        """Iterate over the items that wait for a user's account."""
        for kind in MEDIA_TYPES.values():
            for raw in self._items(kind):
                owned = self.store.to_owned_item(kind, raw)
                if owned.owner == subject:
                    yield owned

    def _waiting(self) -> _Waiting:
        found = _Waiting()
        for kind in MEDIA_TYPES.values():
            for raw in self._items(kind):
                owner = self.store.to_owned_item(kind, raw).owner
                found.counts[owner] += 1
                if error := parse_state(raw.get("atproto")).error:
                    found.errors.setdefault(owner, error)
        return found

    def _items(self, kind: MediaType) -> Iterator[RawDocument]:
        with require_index():
            fields = {"user": 1, "atproto.error": 1}
            found = self.store.collection(kind).find(_WAITING, fields).hint(TROUBLE)
            yield from found.batch_size(_CHUNK)

    def _make_blocked(self, subject: str, waiting: _Waiting) -> BlockedAccount | None:
        account = self.accounts.find(subject)
        parked = self._read_parked(account) if account else None
        known = parked or waiting.errors.get(subject)
        if known is None:
            return None  # it was parked for an older password
        return BlockedAccount(
            subject, account, known.code, known.message, parked, waiting.counts[subject]
        )

    def _read_parked(self, account: Account) -> Parked | None:
        try:
            return self.pds_hosts.for_did(account.did).sessions.find_parked(account)
        except MediaError as error:
            if error.step == "account":
                return None  # without a known PDS it cannot be parked
            raise
