"""Seal all stored secrets with the first key: plain ones, and those under another key.

Can be interrupted, repeated, and run while workers run: a text is replaced only if it is
unchanged since it was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from worker.core.secrets import Purpose, StoredSecret, UnreadableSecretError, Vault


class SecretStore(Protocol):
    """A collection of stored secrets."""

    def read_all(self) -> Iterator[StoredSecret]:
        """Yield each secret."""

    def swap(self, stored: StoredSecret, sealed: str, /) -> bool:
        """Replace a secret; return False if it has changed since it was read."""


@dataclass(slots=True)
class KeyUsage:
    """The number of secrets sealed by each key, counted from 1, and of plain ones.

    `unreadable` lists the names of secrets that no key opens for their account.
    """

    by_key: Counter[int] = field(default_factory=Counter)
    plain: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def pending(self) -> int:
        """Return how many readable secrets are not sealed with the first key."""
        return self.plain + sum(self.by_key.values()) - self.by_key[1]


def inspect(secrets: Iterable[StoredSecret], vault: Vault) -> KeyUsage:
    """Count stored secrets by key."""
    usage = KeyUsage()
    for stored in secrets:
        if not vault.is_sealed(stored.text):
            usage.plain += 1
        elif key := _key_of(stored, vault):
            usage.by_key[key] += 1
        else:
            usage.unreadable.append(str(stored.name))
    return usage


def _key_of(stored: StoredSecret, vault: Vault) -> int | None:
    """Return the number of the key that opens a sealed secret, or None."""
    if stored.did is not None:
        try:
            vault.open(stored.text, Purpose.PASSWORD, stored.did)
        except UnreadableSecretError:
            return None
    return vault.key_of(stored.text)


def warn_of_encryption(readers: Sequence[str]) -> str:
    """Build the warning for the operator; `readers` are programs that need plain passwords."""
    known = f" (on this platform: {', '.join(readers)})" if readers else ""
    return (
        f"Other programs may read `users.atproto.password` in plain text{known}; "
        "once it is encrypted, they cannot log in."
    )


def re_encrypt(store: SecretStore, vault: Vault) -> int:
    """Seal all secrets of a store with the first key; return how many were replaced."""
    replaced = 0
    for stored in store.read_all():
        if sealed := _sealed_again(stored, vault):
            replaced += store.swap(stored, sealed)
    return replaced


def _sealed_again(stored: StoredSecret, vault: Vault) -> str | None:
    """Seal a secret with the first key; return None if it is, or cannot be opened."""
    if vault.is_sealed(stored.text):
        needs_first_key = _key_of(stored, vault) not in {None, 1}
        return vault.reseal(stored.text) if needs_first_key else None
    return vault.seal(stored.text, Purpose.PASSWORD, stored.did) if stored.did else None
