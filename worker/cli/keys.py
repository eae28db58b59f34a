"""`media-atproto new-key` and `rotate-keys`: manage the keys of stored secrets."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.confirmation import DRY_RUN, YES, check_can_ask, confirm
from worker.cli.environment import open_services
from worker.cli.output import (
    ExitCode,
    Table,
    echo,
    exit_with,
    on_interrupt,
    print_json,
    print_table,
)
from worker.pds.account_cache import AccountCache

if TYPE_CHECKING:
    from worker.operations.key_rotation import KeyUsage
    from worker.services import Services

_INTERRUPTED = (
    "Interrupted: all secrets can still be read, as long as no key is removed from SECRET_KEYS. "
    "To encrypt the rest, run the same command again."
)


@click.command("new-key")
def new_key() -> None:
    """Print a new key for SECRET_KEYS, on a line of its own.

    To replace a key, put the new one before the old one, separated by a comma: the first key
    encrypts, all keys decrypt. Then run: media-atproto rotate-keys.

    \b
    Exit codes:
      0  done
      2  error: wrong usage

    \b
      echo "SECRET_KEYS=$(media-atproto new-key)" >> .env
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    from cryptography.fernet import Fernet

    click.echo(Fernet.generate_key().decode())


@click.command("rotate-keys")
@DRY_RUN
@YES
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as a JSON object.")
@click.pass_obj
def rotate_keys(env_file: Path | None, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Encrypt all stored secrets with the first of SECRET_KEYS.

    These are the passwords in MongoDB, also plain ones, and the sessions in Redis. Prints which
    keys are no longer needed, so that they can be removed, and which passwords no key decrypts.

    First put the new key before the old one in SECRET_KEYS and restart all workers: a worker
    without the new key cannot read secrets that are encrypted with it. This command can run while
    workers run; it can be interrupted and repeated.

    Other programs may read the passwords in MongoDB in plain text. So this command warns before it
    encrypts plain passwords. At a terminal, it asks you to type `encrypt`. In scripts, give --yes.

    \b
    Exit codes:
      0  all secrets are encrypted with the first key (with --dry-run: could be)
      1  no key decrypts a password, or a secret changed meanwhile: run it again;
         or the confirmation was wrong
      2  error: wrong usage, or a service does not respond
      130  interrupted
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    with closing(open_services(env_file)) as services:
        plain = _warn_of_plain_passwords(services)
        if plain and not dry_run:
            check_can_ask(yes=yes)
            confirm(f"To encrypt {plain} plain passwords", "encrypt", yes=yes)
        report = _inspect(services, None if dry_run else _seal(services))
    (_print_json if as_json else _print_page)(report)
    exit_with(report.code)


@dataclass(frozen=True, slots=True)
class _Report:
    """The stored secrets by key; `keys` is the number of keys.

    `sealed` are the numbers of passwords and sessions that were sealed, or None in a dry run.
    """

    passwords: KeyUsage
    sessions: KeyUsage
    keys: int
    sealed: tuple[int, int] | None

    @property
    def code(self) -> ExitCode:
        pending = self.passwords.pending + self.sessions.pending if self.sealed else 0
        return ExitCode.FOUND if self.passwords.unreadable or pending else ExitCode.OK

    def is_needed(self, key: int) -> bool:
        """Return whether a secret is sealed with a key other than the first, counted from 1."""
        return bool(self.passwords.by_key[key] or self.sessions.by_key[key])


def _seal(services: Services) -> tuple[int, int]:
    """Seal all secrets with the first key; return the numbers of passwords and sessions."""
    from worker.operations.key_rotation import re_encrypt

    storage, vault = services.storage, services.pds.vault
    with on_interrupt(_INTERRUPTED):
        return re_encrypt(storage.accounts, vault), re_encrypt(AccountCache(storage.redis), vault)


def _inspect(services: Services, sealed: tuple[int, int] | None) -> _Report:
    from worker.operations.key_rotation import inspect

    storage, vault = services.storage, services.pds.vault
    return _Report(
        inspect(storage.accounts.read_all(), vault),
        inspect(AccountCache(storage.redis).read_all(), vault),
        len(services.settings.secret_keys),
        sealed,
    )


def _warn_of_plain_passwords(services: Services) -> int:
    """Warn before plain passwords are encrypted, if there are any; return their number."""
    from worker.operations.key_rotation import inspect, warn_of_encryption

    plain = inspect(services.storage.accounts.read_all(), services.pds.vault).plain
    if plain:
        warning = warn_of_encryption(services.settings.password_readers)
        echo(f"{plain} passwords are stored in plain text. {warning}", "yellow", err=True)
    return plain


def _print_page(report: _Report) -> None:
    """Print how many secrets each key sealed, and which keys are still needed."""
    if report.sealed:
        passwords, sessions = report.sealed
        echo(f"Encrypted with the first key: {passwords} passwords, {sessions} sessions.")
    columns = (report.passwords, report.sessions)
    rows = [
        (f"key {n}" + (" (encrypts)" if n == 1 else ""), *(str(held.by_key[n]) for held in columns))
        for n in range(1, report.keys + 1)
    ]
    rows.append(("plain", *(str(held.plain) for held in columns)))
    rows.append(("no key decrypts", *(str(len(held.unreadable)) for held in columns)))
    print_table(Table(rows, header=("", "passwords", "sessions")))
    for subject in report.passwords.unreadable:
        advice = "restore the missing key, or store the password again"
        echo(f"no key decrypts the password of {subject}: {advice}")
    if not report.sealed:
        echo("Nothing was changed.")
    for n in range(2, report.keys + 1):
        if report.is_needed(n):
            echo(f"Key {n} of SECRET_KEYS is still needed.")
        else:
            echo(f"Key {n} of SECRET_KEYS is no longer needed: it can be removed.", "green")


def _print_json(report: _Report) -> None:
    """Print the same numbers; keys are counted from 1."""
    sealed = report.sealed
    whole = {
        "sealed": {"passwords": sealed[0], "sessions": sealed[1]} if sealed else None,
        "passwords": _usage(report.passwords, report.keys),
        "sessions": _usage(report.sessions, report.keys),
        "unneeded_keys": [n for n in range(2, report.keys + 1) if not report.is_needed(n)],
    }
    print_json(whole)


def _usage(usage: KeyUsage, keys: int) -> dict[str, object]:
    by_key = {str(n): usage.by_key[n] for n in range(1, keys + 1)}
    return {"by_key": by_key, "plain": usage.plain, "unreadable": usage.unreadable}
