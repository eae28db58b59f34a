"""`media-atproto new-key` and `rotate-keys`: manage the keys of stored secrets."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.confirmation import check_can_ask, confirm
from worker.cli.environment import open_services
from worker.cli.output import ExitCode, Table, echo, exit_with, print_json, print_table
from worker.pds.account_cache import AccountCache

if TYPE_CHECKING:
    from worker.operations.key_rotation import KeyUsage
    from worker.services import Services


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
@click.option("--dry-run", is_flag=True, help="Only count; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before plain passwords are encrypted.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
@click.pass_obj
def rotate_keys(env_file: Path | None, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Seal all stored secrets with the first of SECRET_KEYS.

    These are the passwords in MongoDB, also plain ones, and the sessions in Redis. Prints which
    keys are no longer needed, so that they can be removed, and which passwords no key opens.

    First put the new key before the old one in SECRET_KEYS and restart all workers: a worker
    without the new key cannot read secrets that are sealed with it. This command can run while
    workers run; it can be interrupted and repeated.

    Other programs may read the passwords in MongoDB in plain text. So this command warns before it
    encrypts a plain password, and asks for confirmation; in scripts give --yes.

    \b
    Exit codes:
      0  all secrets are sealed with the first key (with --dry-run: could be)
      1  no key opens a password, or a secret changed meanwhile: run it again
      2  error: wrong usage, or plain passwords without a terminal to confirm at and without --yes
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    from worker.operations.key_rotation import inspect, re_encrypt

    with closing(open_services(env_file)) as services:
        vault, cache = services.pds.vault, AccountCache(services.storage.redis)
        plain = _warn_of_plain_passwords(services)
        if not dry_run:
            if plain:
                check_can_ask("--yes", yes=yes)
                confirm(f"To encrypt {plain} plain passwords", "encrypt", yes=yes)
            counts = re_encrypt(services.storage.accounts, vault), re_encrypt(cache, vault)
            sealed = f"Sealed with the first key: {counts[0]} passwords, {counts[1]} sessions."
            echo(sealed, err=as_json)
        passwords = inspect(services.storage.accounts.read_all(), vault)
        sessions = inspect(cache.read_all(), vault)
    if as_json:
        print_json({"passwords": _as_json(passwords), "sessions": _as_json(sessions)})
    else:
        _print_result(passwords, sessions, len(services.settings.secret_keys))
    pending = 0 if dry_run else passwords.pending + sessions.pending
    exit_with(ExitCode.FOUND if passwords.unreadable or pending else ExitCode.OK)


def _warn_of_plain_passwords(services: Services) -> int:
    """Warn before plain passwords are encrypted, if there are any; return their number."""
    from worker.operations.key_rotation import inspect, warn_of_encryption

    plain = inspect(services.storage.accounts.read_all(), services.pds.vault).plain
    if plain:
        warning = warn_of_encryption(services.settings.password_readers)
        echo(f"{plain} passwords are stored in plain text. {warning}", "yellow", err=True)
    return plain


def _as_json(held: KeyUsage) -> dict[str, object]:
    return {"keys": dict(held.by_key), "plain": held.plain, "unreadable": held.unreadable}


def _print_result(passwords: KeyUsage, sessions: KeyUsage, keys: int) -> None:
    """Print how many secrets each key sealed, and which keys are still needed."""
    columns = (passwords, sessions)
    rows = [
        (f"key {n}" + (" (seals)" if n == 1 else ""), *(str(held.by_key[n]) for held in columns))
        for n in range(1, keys + 1)
    ]
    rows.append(("plain", *(str(held.plain) for held in columns)))
    rows.append(("no key opens", *(str(len(held.unreadable)) for held in columns)))
    print_table(Table(rows, header=("", "passwords", "sessions")))
    for subject in passwords.unreadable:
        advice = "restore the missing key, or store the password again"
        echo(f"no key opens the password of {subject}: {advice}")
    for n in range(2, keys + 1):
        if passwords.by_key[n] or sessions.by_key[n]:
            echo(f"Key {n} of SECRET_KEYS is still needed.")
        else:
            echo(f"Key {n} of SECRET_KEYS is no longer needed: it can be removed.", "green")
