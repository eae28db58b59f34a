"""Secrets: wrapped so that they never print, encrypted where they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_PREFIX = "fernet:"


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that `repr` and `str` hide; only `reveal()` returns it."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        """Return the text; call this only to hand it to a client."""
        return self._value

    def __str__(self) -> str:
        return "Secret(...)"


class UnreadableSecretError(ValueError):
    """A stored secret was encrypted with a key that is not in SECRET_KEYS."""


class Vault:
    """Encrypts with the first of the project's keys and decrypts with any of them.

    The format of an encrypted text is `fernet:TOKEN` (https://github.com/fernet/spec).
    """

    def __init__(self, keys: Iterable[Secret]) -> None:
        self._keys = tuple(keys)

    def seal(self, plain: str) -> str:
        return _PREFIX + self._fernet().encrypt(plain.encode()).decode()

    def open(self, sealed: str) -> Secret:
        """Decrypt a sealed text; raises UnreadableSecretError if no key fits."""
        from cryptography.fernet import InvalidToken

        try:
            token = sealed.removeprefix(_PREFIX).encode()
            return Secret(self._fernet().decrypt(token).decode())
        except InvalidToken:
            raise UnreadableSecretError("no key of SECRET_KEYS decrypts it") from None

    def open_stored(self, stored: str) -> Secret:
        """Return a secret that may be stored sealed or plain."""
        return self.open(stored) if self.is_sealed(stored) else Secret(stored)

    def key_of(self, sealed: str) -> int | None:
        """Return the number of the key that decrypts a text, counted from 1, or None."""
        for number, key in enumerate(self._keys, start=1):
            with suppress(UnreadableSecretError):
                Vault([key]).open(sealed)
                return number
        return None

    def tag(self, text: str) -> str:
        """Return a keyed hash of `text`.

        Without the keys, passwords cannot be guessed from it. The last key is used because it
        stays in place while a new key is introduced.
        """
        key = self._keys[-1].reveal().encode()
        return hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()

    @staticmethod
    def is_sealed(stored: str) -> bool:
        return stored.startswith(_PREFIX)

    def _fernet(self) -> MultiFernet:
        # Imported late: an upload function loads this module and never encrypts.
        from cryptography.fernet import Fernet, MultiFernet

        return MultiFernet([Fernet(key.reveal()) for key in self._keys])
