"""Check credentials: stored passwords can be read, and accounts can log in.

A PDS limits logins, so existing sessions are reused; only accounts without one log in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from worker.core.documents import Account
from worker.core.errors import MediaError
from worker.database.mongo import mongo_errors
from worker.operations.doctor.installation import Installation
from worker.operations.doctor.results import CheckResult, fail, ok, warn
from worker.operations.error_help import help_for
from worker.operations.key_rotation import KeyUsage, inspect, warn_of_encryption

SUBJECT = "accounts"
_MAX_PASSWORDS = 10_000  # passwords to check
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """The result of a login; `problem` is empty if the account has a session.

    `code` is the error code of the problem. If the account does not exist, `name` is a subject.
    """

    name: str
    problem: str
    exists: bool = True
    code: str = ""


@dataclass(frozen=True, slots=True)
class StoredPasswords:
    """The number of passwords by key; `readers` are other programs that read them in plain text."""

    usage: KeyUsage
    readers: tuple[str, ...] = ()


def fetch_passwords(installation: Installation) -> StoredPasswords:
    """Count the first ten thousand passwords by key; raises StoreUnavailableError."""
    services = installation.services
    usage = inspect(
        islice(services.storage.accounts.read_all(), _MAX_PASSWORDS), services.pds.vault
    )
    return StoredPasswords(usage, services.settings.password_readers)


def evaluate_passwords(passwords: StoredPasswords) -> Iterator[CheckResult]:
    """Report passwords that cannot be decrypted, or that other programs cannot read."""
    usage, warning = passwords.usage, warn_of_encryption(passwords.readers)
    sealed = sum(usage.by_key.values())
    if usage.unreadable:
        names = ", ".join(usage.unreadable[:_MAX_NAMED])
        found = f"no key decrypts {len(usage.unreadable)} of them: {names}"
        advice = "restore the missing key in SECRET_KEYS, or store the passwords again"
        yield fail(SUBJECT, "passwords", found, advice)
    else:
        remark = "; other programs cannot read those" if sealed else ""
        found = f"SECRET_KEYS decrypts all {sealed} encrypted ones{remark}"
        yield ok(SUBJECT, "passwords", found)
    if usage.plain:
        found = f"{usage.plain} are stored unencrypted"
        advice = f"{warning} If none does, run media-atproto rotate-keys"
        yield warn(SUBJECT, "encryption", found, advice)
    if sealed and passwords.readers:
        advice = f"{warning} Store the passwords in plain text where they need them"
        yield warn(SUBJECT, "readers", f"{sealed} are encrypted", advice)
    if older := sealed - usage.by_key[1]:
        found = f"{older} are encrypted with another key than the first"
        yield warn(SUBJECT, "rotation", found, "run media-atproto rotate-keys")


def fetch_guests(installation: Installation) -> LoginAttempt:
    """Log in with the guests' account; raises StoreUnavailableError."""
    subject = installation.settings.guest_subject
    account = installation.services.storage.accounts.find(subject)
    if account is None:
        return LoginAttempt(subject, "", exists=False)
    return _try_login(account, installation)


def evaluate_guests(login: LoginAttempt) -> Iterator[CheckResult]:
    """Evaluate the login of the guests' account."""
    if not login.exists:
        found = "no account for guests' items: they are not published"
        advice = f"store an account as `users` {login.name!r}, or set GUEST_SUBJECT"
        yield warn(SUBJECT, "guests", found, advice)
    elif login.problem:
        yield fail(SUBJECT, "guests", login.problem, help_for(login.code).action)
    else:
        yield ok(SUBJECT, "guests", f"{login.name} can log in")


def fetch_users(installation: Installation) -> list[LoginAttempt]:
    """Log in with the requested number of users' accounts; raises StoreUnavailableError."""
    storage = installation.services.storage
    match = {"atproto.did": {"$type": "string"}}
    with mongo_errors():
        found = storage.database["users"].find(match, {"_id": 1}).limit(installation.accounts)
        subjects = [str(user["_id"]) for user in found]
    accounts = (storage.accounts.find(subject) for subject in subjects)
    return [_try_login(account, installation) for account in accounts if account]


def evaluate_users(logins: Sequence[LoginAttempt]) -> Iterator[CheckResult]:
    """Evaluate the logins of users' accounts."""
    failed = [login.problem for login in logins if login.problem]
    if failed:
        found = f"{len(failed)} of {len(logins)} cannot be used: {'; '.join(failed[:_MAX_NAMED])}"
        advice = "run media-atproto accounts, which lists what to do for each"
        yield fail(SUBJECT, "users", found, advice)
    elif logins:
        yield ok(SUBJECT, "users", f"all {len(logins)} tested accounts can log in")
    else:
        yield ok(SUBJECT, "users", "no user has an account yet")


def _try_login(account: Account, installation: Installation) -> LoginAttempt:
    """Get a session of an account, and check that the account is active."""
    try:
        active = installation.services.pds.repo(account).is_active()
    except MediaError as error:
        problem = f"{account.handle}: {error.message}"
        return LoginAttempt(account.handle, problem, code=error.code)
    problem = "" if active else f"{account.handle}: the account is deactivated"
    return LoginAttempt(account.handle, problem, code="" if active else "account_deactivated")
