"""Share one session per account among all workers, encrypted in Redis.

A lock per account prevents simultaneous logins. A session is refreshed before it expires, and
replaced when the PDS reports it as expired or revoked. An account that cannot log in is parked: no
login is tried until its parking ends or its password changes.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from redis import Redis

from worker.core.clock import now
from worker.core.documents import Account
from worker.core.errors import AccountError, LockHeldError
from worker.core.redis_errors import redis_errors
from worker.core.redis_values import read_text, swap_text
from worker.core.secrets import Purpose, Secret, UnreadableSecretError, Vault
from worker.pds.client import PdsClient, Session
from worker.pds.errors import AccountUnusableError, SessionExpiredError
from worker.pds.locks import hold_lock
from worker.pds.parking import Parked, Parking
from worker.telemetry.alerts import NULL_ALERTS, Alerts

_REFRESH_MARGIN = 300  # seconds before an access token expires; it lives two hours
_LOCK_TIMEOUT = 45  # seconds; longer than a login takes
_REPORTED = 7 * 86_400  # seconds without a fault, after which the same fault is reported again
_COUNT = re.compile(r"[0-9]{1,4}")  # of failures, after the code of the last one
_KEPT = 90 * 86_400  # seconds; the lifetime of a refresh token


class Sessions:
    """Creates, refreshes and caches the sessions of accounts at one PDS.

    `has_moved` returns whether the account of a DID is at another PDS now. Such an account is not
    parked: the caller follows it.
    """

    def __init__(
        self,
        redis: Redis,
        vault: Vault,
        pds: PdsClient,
        *,
        parked: float,
        alerts: Alerts = NULL_ALERTS,
        has_moved: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._redis = redis
        self._vault = vault
        self._pds = pds
        self._parking = Parking(redis, vault, parked)
        self._alerts = alerts
        self._has_moved = has_moved

    def get(self, account: Account) -> Session:
        """Return a cached or new session; raises AccountError if the login fails."""
        session = self._read_cached(account)
        if session and _is_fresh(session):
            return session
        return self.renew(account, session)

    def renew(self, account: Account, stale: Session | None) -> Session:
        """Replace `stale` by another worker's session, a refreshed one, or a new login."""
        with self._lock_account(account):
            session = self._read_cached(account)
            if session and session != stale and _is_fresh(session):
                return session
            return self._store(account, self._refresh(session) or self._login(account))

    def replace(self, account: Account, refused: Session) -> Session:
        """Replace `refused` by another worker's session, or by a new login."""
        with self._lock_account(account):
            session = self._read_cached(account)
            if session and session != refused:
                return session
            return self._store(account, self._login(account))

    def park(
        self, account: Account, fault: AccountUnusableError, *, at_login: bool = False
    ) -> AccountError:
        """Park an account, and send an alert for a new fault; return the AccountError."""
        if self._has_moved(account.did):
            return AccountError(fault.message, until=now(), step="account", code=fault.code)
        known, bound = self._key("told", account), self._bound(account)
        with redis_errors():
            _, _, count = (read_text(self._redis, known) or "").partition(" ")
        failures = int(count) if _COUNT.fullmatch(count) else 0
        # Several workers may park an account after the same fault: this is one failure.
        failures += self._parking.find(account, bound) is None
        parked = self._parking.park(
            account, bound, fault, failures=max(failures - 1, 0), at_login=at_login
        )
        with redis_errors():
            self._redis.delete(self._key("session", account))
            previous = swap_text(self._redis, known, f"{fault.code} {failures}", _REPORTED)
        if (previous or "").partition(" ")[0] != fault.code:
            self._alerts.account_parked(account, fault.code, parked.message)
        return parked

    def find_parked(self, account: Account) -> Parked | None:
        """Return the parking of an account's current password and PDS, or None."""
        return self._parking.find(account, self._bound(account))

    def find_all_parked(self, accounts: Iterable[Account]) -> list[Parked | None]:
        """Return what `find_parked` returns for each account."""
        return self._parking.find_all([(account, self._bound(account)) for account in accounts])

    def _refresh(self, session: Session | None) -> Session | None:
        if session is None:
            return None
        with suppress(SessionExpiredError, AccountUnusableError):
            return self._pds.refresh_session(session.refresh)
        return None

    def _login(self, account: Account) -> Session:
        try:
            password = self._vault.open_password(account.password.reveal(), account.did)
            session = self._pds.create_session(account.did, password)
        except UnreadableSecretError as error:
            unreadable = AccountUnusableError(f"the password: {error}", code="password_unreadable")
            raise self.park(account, unreadable) from None
        except AccountUnusableError as fault:
            raise self.park(account, fault, at_login=True) from fault
        return session

    def _read_cached(self, account: Account) -> Session | None:
        with redis_errors():
            sealed = read_text(self._redis, self._key("session", account)) or ""
        try:
            tokens = self._vault.open(sealed, Purpose.SESSION, self._subject(account)).reveal()
        except UnreadableSecretError:
            return None  # missing, copied, or sealed with a key that was removed: log in again
        access, refresh = json.loads(tokens)
        return Session(account.did, Secret(access), Secret(refresh))

    def _store(self, account: Account, session: Session) -> Session:
        if session.did != account.did:
            message = f"the PDS at {self._pds.url} answered with {session.did[:100]!a}"
            raise self.park(account, AccountUnusableError(message, code="account_not_found"))
        if not session.active:
            inactive = AccountUnusableError(
                "the account is deactivated", code="account_deactivated"
            )
            raise self.park(account, inactive)
        tokens = json.dumps([session.access.reveal(), session.refresh.reveal()])
        sealed = self._vault.seal(tokens, Purpose.SESSION, self._subject(account))
        with redis_errors():
            self._redis.set(self._key("session", account), sealed, ex=_KEPT)
            self._redis.delete(self._key("told", account))
        return session

    def _subject(self, account: Account) -> str:
        return f"{account.did} {self._pds.url}"

    def _key(self, what: str, account: Account) -> str:
        return f"media-atproto:{what}:{account.did}:{self._bound(account)}"

    def _bound(self, account: Account) -> str:
        # A session is valid for one PDS and password. Sealing a password again changes neither.
        password = account.password
        with suppress(UnreadableSecretError):
            password = self._vault.open_password(password.reveal(), account.did)
        return self._vault.tag(f"{self._pds.url} {password.reveal()}")

    @contextmanager
    def _lock_account(self, account: Account) -> Iterator[None]:
        self._parking.raise_if_parked(account, self._bound(account))
        message = f"another worker is still logging in as {account.did}"
        busy = LockHeldError(message, until=now(), step="session", code="login_locked")
        name, waiting = self._key("login", account), self._pds.hold_waiting
        with hold_lock(self._redis, name, busy, timeout=_LOCK_TIMEOUT, hold_waiting=waiting):
            # Check again: the login of the previous holder may have failed.
            self._parking.raise_if_parked(account, self._bound(account))
            yield


def _is_fresh(session: Session) -> bool:
    """Return whether a JWT is valid for 5 more minutes (RFC 7519 section 4.1.4)."""
    try:
        payload = session.access.reveal().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"]) > time.time() + _REFRESH_MARGIN
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return True  # unreadable token: the PDS reports its expiry
