"""Credentials: stored passwords can be read, and accounts log in.

Logins are limited, so sessions that the fleet has are used: a login is made where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pymongo.database import Database

from worker.core.documents import Account
from worker.core.errors import MediaError
from worker.core.secrets import Vault
from worker.database.accounts import Accounts
from worker.database.mongo import RawDocument, mongo_errors
from worker.operations.doctor.results import CheckResult, fail, ok, warn
from worker.operations.key_rotation import KeyUsage, inspect
from worker.pds.repo import Repo

SUBJECT = "accounts"
_MAX_TRIED = 10_000  # passwords that are looked at
_MAX_NAMED = 3
_CORRECT = "correct `users.atproto`, the account, or `SECRET_KEYS`"


@dataclass(frozen=True, slots=True)
class _Some:
    """The first of the stored passwords."""

    accounts: Accounts

    def read_all(self) -> Iterator[tuple[object, str]]:
        return islice(self.accounts.read_all(), _MAX_TRIED)

    def swap(self, name: object, read: str, sealed: str, /) -> bool:
        return self.accounts.swap(name, read, sealed)


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """How an account's session was had: `problem` is empty if it was."""

    name: str
    problem: str


def check_passwords(accounts: Accounts, vault: Vault) -> list[CheckResult]:
    """Open the stored passwords, the first ten thousand; raises StoreUnavailableError."""
    return list(evaluate_passwords(inspect(_Some(accounts), vault)))


def evaluate_passwords(usage: KeyUsage) -> Iterator[CheckResult]:
    """Judge what the keys open."""
    sealed = sum(usage.by_key.values())
    if usage.unreadable:
        names = ", ".join(usage.unreadable[:_MAX_NAMED])
        found = f"no key opens {len(usage.unreadable)} of them: {names}"
        advice = "give SECRET_KEYS the key back, or store the passwords anew"
        yield fail(SUBJECT, "passwords", found, advice)
    else:
        yield ok(SUBJECT, "passwords", f"SECRET_KEYS opens all {sealed} that are encrypted")
    if usage.plain:
        found = f"{usage.plain} are stored plain"
        yield warn(SUBJECT, "encryption", found, "run media-atproto rotate-keys")
    if older := sealed - usage.by_key[1]:
        found = f"{older} are under another key than the first"
        yield warn(SUBJECT, "rotation", found, "run media-atproto rotate-keys")


def check_guests(
    accounts: Accounts, subject: str, open_repo: Callable[[Account], Repo]
) -> list[CheckResult]:
    """Have a session of the guests' account; raises StoreUnavailableError."""
    account = accounts.find(subject)
    return [evaluate_guests(subject, try_login(account, open_repo) if account else None)]


def evaluate_guests(subject: str, login: LoginAttempt | None) -> CheckResult:
    """Judge the guests' account; None if there is none."""
    if login is None:
        advice = f"store one as `users` {subject!r}, or set GUEST_SUBJECT; guests' items wait"
        return warn(SUBJECT, "guests", "there is no account for guests' items", advice)
    if login.problem:
        return fail(SUBJECT, "guests", login.problem, _CORRECT)
    return ok(SUBJECT, "guests", f"{login.name} logs in")


def check_users(
    database: Database[RawDocument],
    accounts: Accounts,
    most: int,
    open_repo: Callable[[Account], Repo],
) -> list[CheckResult]:
    """Have a session of so many accounts; raises StoreUnavailableError."""
    match = {"atproto.did": {"$type": "string"}}
    with mongo_errors():
        users = list(database["users"].find(match, {"_id": 1}).limit(most))
    found = (accounts.find(str(user["_id"])) for user in users)
    return [evaluate_users([try_login(account, open_repo) for account in found if account])]


def evaluate_users(logins: Sequence[LoginAttempt]) -> CheckResult:
    """Judge accounts that were tried."""
    if not logins:
        return ok(SUBJECT, "users", "no user has an account yet")
    failed = [login for login in logins if login.problem]
    if not failed:
        return ok(SUBJECT, "users", f"all {len(logins)} that were tried log in")
    told = "; ".join(login.problem for login in failed[:_MAX_NAMED])
    found = f"{len(failed)} of {len(logins)} cannot be used: {told}"
    return fail(SUBJECT, "users", found, f"{_CORRECT}; media-atproto accounts lists them")


def try_login(account: Account, open_repo: Callable[[Account], Repo]) -> LoginAttempt:
    """Have a session of an account, and ask its PDS whether it holds."""
    try:
        active = open_repo(account).is_active()
    except MediaError as error:
        return LoginAttempt(account.handle, f"{account.handle}: {error.message}")
    return LoginAttempt(
        account.handle, "" if active else f"{account.handle}: the account is deactivated"
    )
