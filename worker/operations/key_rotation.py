"""Seal all stored secrets with the first key: plain ones, and those under another key.

Can be interrupted, repeated and run beside workers: a text is replaced only if it is unchanged
since it was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from worker.core.secrets import Vault

Name = TypeVar("Name")


class SecretStore(Protocol[Name]):
    """A collection of stored secrets."""

    def read_all(self) -> Iterator[tuple[Name, str]]:
        """Yield each secret's name, and its text as it is stored."""

    def swap(self, name: Name, read: str, sealed: str, /) -> bool:
        """Replace a text; return False if it has changed since it was read."""


@dataclass(slots=True)
class KeyUsage:
    """How many secrets each key sealed, by number from 1, and how many are plain.

    `unreadable` names those that no key opens.
    """

    by_key: Counter[int] = field(default_factory=Counter)
    plain: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def pending(self) -> int:
        """Return how many can be sealed with the first key and are not yet."""
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
