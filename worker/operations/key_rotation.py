"""Rotating keys: whatever is stored sealed, or should be, comes under the first key.

Safe to interrupt and to repeat, beside workers at work: a text is replaced only while it is what
was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from worker.core.secrets import Vault

Name = TypeVar("Name")


class SecretStore(Protocol[Name]):
    """A place where secrets rest."""

    def read_all(self) -> Iterator[tuple[Name, str]]:
        """Go through what is there: its name, and its text as it is stored."""

    def swap(self, name: Name, read: str, sealed: str, /) -> bool:
        """Put another text in place of the one that was read; False if that has changed since."""


@dataclass(slots=True)
class KeyUsage:
    """What is on a shelf: how many texts by the number of their key (from 1), and how many plain.

    `unreadable` names those that no key opens.
    """

    by_key: Counter[int] = field(default_factory=Counter)
    plain: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def pending(self) -> int:
        """Return how many are not under the first key and can be brought there."""
        return self.plain + sum(self.by_key.values()) - self.by_key[1]


def inspect(store: SecretStore[Name], vault: Vault) -> KeyUsage:
    """Return what is on a shelf."""
    usage = KeyUsage()
    for name, text in store.read_all():
        if not vault.is_sealed(text):
            usage.plain += 1
        elif key := vault.key_of(text):
            usage.by_key[key] += 1
        else:
            usage.unreadable.append(str(name))
    return usage


def re_encrypt(store: SecretStore[Name], vault: Vault) -> int:
    """Seal everything on a shelf with the first key; return how many texts were replaced."""
    replaced = 0
    for name, text in store.read_all():
        key = vault.key_of(text) if vault.is_sealed(text) else 0
        if key in {None, 1}:
            continue
        sealed = vault.seal(vault.open_stored(text).reveal())
        replaced += store.swap(name, text, sealed)
    return replaced
