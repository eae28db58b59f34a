"""Seal all stored secrets with the first key: plain ones, and those under another key.

Can be interrupted, repeated, and run while workers run: a text is replaced only if it is
unchanged since it was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from worker.core.secrets import Vault

Name = TypeVar("Name")


class SecretStore(Protocol[Name]):
    """A collection of stored secrets."""

    def read_all(self) -> Iterator[tuple[Name, str]]:
        """Yield the name and the stored text of each secret."""

    def swap(self, name: Name, read: str, sealed: str, /) -> bool:
        """Replace a text; return False if it has changed since it was read."""


@dataclass(slots=True)
class KeyUsage:
    """The number of secrets sealed by each key, counted from 1, and of plain ones.

    `unreadable` lists the names of secrets that no key opens.
    """

    by_key: Counter[int] = field(default_factory=Counter)
    plain: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def pending(self) -> int:
        """Return how many readable secrets are not sealed with the first key."""
        return self.plain + sum(self.by_key.values()) - self.by_key[1]


def inspect(secrets: Iterable[tuple[object, str]], vault: Vault) -> KeyUsage:
    """Count stored secrets by key."""
    usage = KeyUsage()
    for name, text in secrets:
        if not vault.is_sealed(text):
            usage.plain += 1
        elif key := vault.key_of(text):
            usage.by_key[key] += 1
        else:
            usage.unreadable.append(str(name))
    return usage


def warn_of_encryption(readers: Sequence[str]) -> str:
    """Build the warning for the operator; `readers` are programs that need plain passwords."""
    known = f" (on this platform: {', '.join(readers)})" if readers else ""
    return (
        f"Other programs may read `users.atproto.password` in plain text{known}; "
        "once it is encrypted, they cannot log in."
    )


def re_encrypt(store: SecretStore[Name], vault: Vault) -> int:
    """Seal all texts of a store with the first key; return how many were replaced."""
    replaced = 0
    for name, text in store.read_all():
        key = vault.key_of(text) if vault.is_sealed(text) else 0
        if key in {None, 1}:
            continue
        sealed = vault.seal(vault.open_stored(text).reveal())
        replaced += store.swap(name, text, sealed)
    return replaced
