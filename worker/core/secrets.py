"""Wrap secrets to keep them out of logs, and encrypt them for storage."""

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
    """A secret text that is hidden from `repr` and `str`."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        """Return the text; call this only to pass it to a client library."""
        return self._value

    def __str__(self) -> str:
        return "Secret(...)"


class UnreadableSecretError(ValueError):
    """A stored secret cannot be decrypted with any key in SECRET_KEYS."""


class Vault:
    """Encrypts with the first key and decrypts with any key of SECRET_KEYS.

    The format of an encrypted text is `fernet:TOKEN` (https://github.com/fernet/spec).
    """

    def __init__(self, keys: Iterable[Secret]) -> None:
        self._keys = tuple(keys)

    def seal(self, plain: str) -> str:
        return _PREFIX + self._fernet().encrypt(plain.encode()).decode()

    def open(self, sealed: str) -> Secret:
        """Decrypt an encrypted text; raises UnreadableSecretError if no key decrypts it."""
        from cryptography.fernet import InvalidToken

        try:
            token = sealed.removeprefix(_PREFIX).encode()
            return Secret(self._fernet().decrypt(token).decode())
        except InvalidToken:
            raise UnreadableSecretError("no key of SECRET_KEYS decrypts it") from None

    def open_stored(self, stored: str) -> Secret:
        """Return a stored secret; raises UnreadableSecretError if it cannot be decrypted."""
        return self.open(stored) if self.is_sealed(stored) else Secret(stored)

    def key_of(self, sealed: str) -> int | None:
        """Return the number (from 1) of the key that decrypts `sealed`, or None."""
        for number, key in enumerate(self._keys, start=1):
            with suppress(UnreadableSecretError):
                Vault([key]).open(sealed)
                return number
        return None

    def tag(self, text: str) -> str:
        """Return a hash of `text`, keyed with the last key.

        A password cannot be guessed from its hash without the key. New keys are added at the front,
        so adding one does not change the hash.
        """
        key = self._keys[-1].reveal().encode()
        return hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()

    @staticmethod
    def is_sealed(stored: str) -> bool:
        return stored.startswith(_PREFIX)

    def _fernet(self) -> MultiFernet:
        # Imported on first use: producers import this module but never encrypt.
        from cryptography.fernet import Fernet, MultiFernet

        return MultiFernet([Fernet(key.reveal()) for key in self._keys])
