"""Find blocked accounts, the error of each, and the number of pending items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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
    for a missing index; `all` also raises RedisUnavailableError, and `without_redis` does not.
    """

    store: DocumentStore
    accounts: Accounts
    pds_hosts: PdsHosts
    parking: Parking

    def all(self) -> list[BlockedAccount]:
        """Return the blocked accounts, ordered by pending items, most first."""
        waiting, errors = self._count_pending()
        parked = (self.accounts.by_did(did) for did in self.parking.dids())
        subjects = {*waiting, *(account.subject for account in parked if account)}
        return _sorted(
            _make_blocked(account, subject, self._read_parked(account), errors, waiting)
            for subject in subjects
            for account in [self.accounts.find(subject)]
        )

    def without_redis(self) -> list[BlockedAccount]:
        """Return the blocked accounts that have pending items, without the state in Redis."""
        waiting, errors = self._count_pending()
        return _sorted(
            _make_blocked(self.accounts.find(subject), subject, None, errors, waiting)
            for subject in waiting
        )

    def _count_pending(self) -> tuple[Counter[str], dict[str, Failure]]:
        """Count the pending items by owner, and return the first error of each owner."""
        waiting: Counter[str] = Counter()
        errors: dict[str, Failure] = {}
        for item, error in self._pending():
            waiting[item.owner] += 1
            if error:
                errors.setdefault(item.owner, error)
        return waiting, errors

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

    def _read_parked(self, account: Account | None) -> Parked | None:
        if account is None:
            return None
        try:
            return self.pds_hosts.for_did(account.did).sessions.find_parked(account)
        except MediaError as error:
            if error.step == "account":
                return None  # an account without a known PDS is not parked
            raise


def _make_blocked(
    account: Account | None,
    subject: str,
    parked: Parked | None,
    errors: Mapping[str, Failure],
    waiting: Counter[str],
) -> BlockedAccount | None:
    known = parked or errors.get(subject)
    if known is None:
        return None  # only parked under a former password
    return BlockedAccount(subject, account, known.code, known.message, parked, waiting[subject])


def _sorted(found: Iterable[BlockedAccount | None]) -> list[BlockedAccount]:
    """Return the accounts ordered by pending items, most first."""
    blocked = (account for account in found if account)
    return sorted(blocked, key=lambda account: (-account.waiting, account.subject))
