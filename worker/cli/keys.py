"""`media-atproto new-key` and `rotate-keys`: manage the keys of stored secrets."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import open_services
from worker.cli.output import ExitCode, Table, echo, exit_with, print_table
from worker.pds.account_cache import AccountCache

if TYPE_CHECKING:
    from worker.operations.key_rotation import KeyUsage


@click.command("new-key")
def new_key() -> None:
    """Print a fresh key for SECRET_KEYS, on a line of its own.

    To replace a key, put the new one first and keep the old one behind a comma: the first
    encrypts, all decrypt. Then: media-atproto rotate-keys.

    \b
      echo "SECRET_KEYS=$(media-atproto new-key)" >> .env
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    from cryptography.fernet import Fernet

    click.echo(Fernet.generate_key().decode())


@click.command("rotate-keys")
@click.option("--dry-run", is_flag=True, help="Only count; change nothing.")
@click.pass_obj
def rotate_keys(env_file: Path | None, *, dry_run: bool) -> None:
    """Seal everything that is stored with the first of SECRET_KEYS.

    That is the passwords in MongoDB, plain ones too, and the sessions in Redis. It says which
    keys nothing needs any more, so that they can be taken out, and whose passwords no key opens.

    First put the new key before the old one in SECRET_KEYS and restart all workers: one that does
    not know the new key yet could not read what is sealed with it. This command can run while
    they work; it can be interrupted and repeated.

    \b
    Exit codes:
      0  everything is sealed with the first key (with --dry-run: could be)
      1  no key opens the password of somebody, or something changed meanwhile: run it again
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    from worker.operations.key_rotation import inspect, re_encrypt

    with closing(open_services(env_file)) as services:
        vault, cache = services.pds.vault, AccountCache(services.storage.redis)
        if not dry_run:
            anew = re_encrypt(services.storage.accounts, vault), re_encrypt(cache, vault)
            echo(f"Sealed with the first key now: {anew[0]} passwords, {anew[1]} sessions.")
        passwords = inspect(services.storage.accounts.read_all(), vault)
        sessions = inspect(cache.read_all(), vault)
    _print_result(passwords, sessions, len(services.settings.secret_keys))
    pending = 0 if dry_run else passwords.pending + sessions.pending
    exit_with(ExitCode.FOUND if passwords.unreadable or pending else ExitCode.OK)


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
        echo(
            f"no key opens the password of {subject}: give the key back, or store the password anew"
        )
    for n in range(2, keys + 1):
        if passwords.by_key[n] or sessions.by_key[n]:
            echo(f"Key {n} of SECRET_KEYS is still needed.")
        else:
            echo(
                f"Key {n} of SECRET_KEYS is needed by nothing any more: it may be taken out.",
                "green",
            )
