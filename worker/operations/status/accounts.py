"""Find blocked accounts, the error of each, and the number of pending items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from worker.core.documents import Account, Failure, OwnedItem, Status
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

    `waiting` is the number of these items. `parked` is None if the account is no longer parked:
    the items are then retried when they are due.
    """

    subject: str
    account: Account | None
    code: str
    message: str
    parked: Parked | None
    waiting: int

    @property
    def until(self) -> datetime | None:
        return self.parked.until if self.parked else None


@dataclass(frozen=True, slots=True)
class BlockedAccounts:
    """Finds blocked accounts from pending items in MongoDB and parking in Redis.

    Reads one document per pending item. Methods raise StoreUnavailableError, and PermanentError
    for a missing index; `all` also raises RedisUnavailableError.
    """

    store: DocumentStore
    accounts: Accounts
    pds_hosts: PdsHosts
    parking: Parking

    def all(self) -> list[BlockedAccount]:
        """Return the blocked accounts, ordered by pending items, most first."""
        waiting: Counter[str] = Counter()
        errors: dict[str, Failure] = {}
        for item, error in self._pending():
            waiting[item.owner] += 1
            if error:
                errors.setdefault(item.owner, error)
        parked = (self.accounts.by_did(did) for did in self.parking.dids())
        found = [
            blocked
            for subject in {*waiting, *(account.subject for account in parked if account)}
            if (blocked := self._make_blocked(subject, errors.get(subject), waiting[subject]))
        ]
        return sorted(found, key=lambda blocked: (-blocked.waiting, blocked.subject))

    def waiting_for(self, subject: str) -> Iterator[OwnedItem]:
        """Iterate over a user's pending items that have an account error."""
        return (item for item, _ in self._pending() if item.owner == subject)

    def _pending(self) -> Iterator[tuple[OwnedItem, Failure | None]]:
        fields = {"user": 1, "atproto.error": 1}
        for kind in MEDIA_TYPES.values():
            with require_index():
                found = self.store.collection(kind).find(_WAITING, fields).hint(TROUBLE)
                for raw in stream(partial(found.batch_size, _CHUNK)):
                    error = parse_state(raw.get("atproto")).error
                    yield self.store.to_owned_item(kind, raw), error

    def _make_blocked(
        self, subject: str, error: Failure | None, waiting: int
    ) -> BlockedAccount | None:
        account = self.accounts.find(subject)
        parked = self._read_parked(account) if account else None
        known = parked or error
        if known is None:
            return None  # only parked under a former password
        return BlockedAccount(subject, account, known.code, known.message, parked, waiting)

    def _read_parked(self, account: Account) -> Parked | None:
        try:
            return self.pds_hosts.for_did(account.did).sessions.find_parked(account)
        except MediaError as error:
            if error.step == "account":
                return None  # an account without a known PDS is not parked
            raise
