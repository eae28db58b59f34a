"""`media-atproto new-key`: a key that encrypts what rests in MongoDB and Redis."""

from __future__ import annotations

import click


@click.command("new-key")
def new_key() -> None:
    """Print a fresh key for SECRET_KEYS, on a line of its own.

    To replace a key, put the new one first and keep the old one behind a comma: the first
    encrypts, all decrypt.

    \b
      echo "SECRET_KEYS=$(media-atproto new-key)" >> .env
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    from cryptography.fernet import Fernet

    click.echo(Fernet.generate_key().decode())
