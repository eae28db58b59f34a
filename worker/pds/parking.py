"""Park accounts that cannot log in: no login is tried for some time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from redis import Redis

from worker.core.clock import after, doubled, now, rfc3339
from worker.core.documents import Account
from worker.core.errors import AccountError
from worker.core.redis_errors import redis_errors
from worker.core.redis_values import read_text, read_texts
from worker.core.secrets import Purpose, UnreadableSecretError, Vault
from worker.pds.errors import AccountUnusableError

_LONGEST = 86_400.0  # seconds
# Only the account's owner can correct these faults, and a login may send an e-mail with a code.
_UNTIL_CHANGED = frozenset({"second_factor", "wrong_password"})
_KEPT = 90 * 86_400.0  # seconds for which Redis keeps the parking of such an account
_PREFIX = "media-atproto:parked:"
_SCANNED = 1000  # keys per SCAN call


@dataclass(frozen=True, slots=True)
class Parked:
    """The error of a parked account, and the end of its parking."""

    code: str
    message: str
    until: datetime

    @property
    def lasts_until_changed(self) -> bool:
        """Return whether only another password, or an operator, ends the parking."""
        return self.code in _UNTIL_CHANGED


class Parking:
    """Parks accounts; `bound` is a hash of PDS URL and password.

    An account is parked for `seconds`, twice as long after each further failure, and a day at most.
    If a login reports a wrong password or requires a second factor, it is parked until its password
    changes or an operator deletes the parking (after 90 days, one login is tried). Items check
    every `seconds` whether the account is still parked, which sends nothing. A parking is sealed
    with its end: another program can neither add nor extend one.
    """

    def __init__(self, redis: Redis, vault: Vault, seconds: float) -> None:
        self._redis = redis
        self._vault = vault
        self._seconds = seconds

    def park(
        self,
        account: Account,
        bound: str,
        fault: AccountUnusableError,
        *,
        failures: int,
        at_login: bool,
    ) -> AccountError:
        """Park an account because of `fault`, after `failures` others; return the AccountError."""
        message = f"account {account.subject} ({account.did}): {fault.message}"
        seconds = doubled(self._seconds, failures, max(self._seconds, _LONGEST))
        if at_login and fault.code in _UNTIL_CHANGED:
            seconds = _KEPT
        until = after(seconds)
        value = json.dumps([fault.code, message, until.isoformat()])
        sealed = self._vault.seal(value, Purpose.PARKING, _subject(account, bound))
        with redis_errors():
            self._redis.set(_key(account, bound), sealed, px=int(seconds * 1000))
        return AccountError(message, until=self._next_check(until), step="account", code=fault.code)

    def find(self, account: Account, bound: str) -> Parked | None:
        """Return the parking of an account, or None if it is not parked."""
        with redis_errors():
            return self._open(account, bound, read_text(self._redis, _key(account, bound)))

    def find_all(self, bounds: Sequence[tuple[Account, str]]) -> list[Parked | None]:
        """Return what `find` returns for each account and its `bound`."""
        with redis_errors():
            texts = read_texts(self._redis, (_key(*each) for each in bounds))
            return [self._open(*each, text) for each, text in zip(bounds, texts, strict=True)]

    def _open(self, account: Account, bound: str, sealed: str | None) -> Parked | None:
        subject = _subject(account, bound)
        try:
            value = self._vault.open(sealed or "", Purpose.PARKING, subject).reveal()
        except UnreadableSecretError:
            return None
        code, message, until = json.loads(value)
        parked = Parked(code, message, datetime.fromisoformat(until))
        return parked if parked.until > now() else None

    def raise_if_parked(self, account: Account, bound: str) -> None:
        parked = self.find(account, bound)
        if parked:
            until = "" if parked.lasts_until_changed else f"until {rfc3339(parked.until)} or "
            message = f"{parked.message}; parked {until}until its password changes"
            check = self._next_check(parked.until)
            raise AccountError(message, until=check, step="account", code=parked.code)

    def _next_check(self, until: datetime) -> datetime:
        """Return when items check whether the account's password has changed."""
        return min(until, after(self._seconds))

    def dids(self) -> list[str]:
        """Return the DIDs of parked accounts, even if their password has changed since."""
        with redis_errors():
            names = list(self._redis.scan_iter(match=f"{_PREFIX}*", count=_SCANNED))
        tails = (name.decode(errors="replace").removeprefix(_PREFIX) for name in names)
        return sorted({tail.rpartition(":")[0] for tail in tails})


def _key(account: Account, bound: str) -> str:
    return f"{_PREFIX}{account.did}:{bound}"


def _subject(account: Account, bound: str) -> str:
    return f"{account.did} {bound}"
