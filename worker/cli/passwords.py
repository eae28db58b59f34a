"""`media-atproto encrypt-passwords`: no password in MongoDB that can be read there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import complete_environment

if TYPE_CHECKING:
    from pymongo.database import Database

    from worker.database.mongo import RawDocument

_PLAIN = {"atproto.password": {"$type": "string"}}


@click.command("encrypt-passwords")
@click.option("--dry-run", is_flag=True, help="Only count; change nothing.")
@click.pass_obj
def encrypt_passwords(env_file: Path | None, *, dry_run: bool) -> None:
    """Encrypt the account passwords in MongoDB with the first of SECRET_KEYS.

    The worker reads both kinds, so this can be done while it runs; it can be interrupted and
    repeated. Keep the keys: without them the passwords are lost.
    """
    complete_environment(env_file)
    from worker.core.secrets import Vault
    from worker.core.settings import Settings
    from worker.database.accounts import Accounts
    from worker.database.mongo import connect

    settings = Settings.load(os.environ)
    database = connect(settings)
    with database.client:
        if dry_run:
            plain, already = _count(database)
            click.echo(f"{_passwords(plain)} to encrypt, {already} encrypted already.")
        else:
            sealed, already = Accounts(database).seal_passwords(Vault(settings.secret_keys))
            click.echo(f"{_passwords(sealed)} encrypted, {already} were already.")


def _passwords(count: int) -> str:
    return f"{count} password{'' if count == 1 else 's'}"


def _count(database: Database[RawDocument]) -> tuple[int, int]:
    """Return how many stored passwords are plain, and how many encrypted."""
    from worker.core.secrets import Vault
    from worker.database.mongo import mongo_errors

    counts = [0, 0]
    with mongo_errors():
        for user in database["users"].find(_PLAIN, {"atproto.password": 1}):
            account = user.get("atproto")
            stored = account.get("password") if isinstance(account, dict) else None
            counts[Vault.is_sealed(str(stored))] += 1
    return counts[0], counts[1]
