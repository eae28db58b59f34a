"""Passwords and tokens: wrapped so that they never print, encrypted wherever they rest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_PREFIX = "fernet:"


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that must not be printed: `repr` and `str` hide it, `reveal()` gives it."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        """Return the text itself; call it only where it is handed to a client."""
        return self._value

    def __str__(self) -> str:
        return "Secret(...)"


class UnreadableSecretError(ValueError):
    """A stored secret was encrypted with a key that is not in SECRET_KEYS."""


class Vault:
    """Encrypts and decrypts with the project's keys: the first encrypts, all decrypt.

    An encrypted text reads `fernet:TOKEN` (https://github.com/fernet/spec).
    """

    def __init__(self, keys: Iterable[Secret]) -> None:
        self._keys = tuple(keys)

    def seal(self, plain: str) -> str:
        """Return `plain` encrypted."""
        return _PREFIX + self._fernet().encrypt(plain.encode()).decode()

    def open(self, stored: str) -> Secret:
        """Return the secret of a sealed text; raises UnreadableSecretError if no key fits."""
        from cryptography.fernet import InvalidToken

        try:
            token = stored.removeprefix(_PREFIX).encode()
            return Secret(self._fernet().decrypt(token).decode())
        except InvalidToken:
            raise UnreadableSecretError("no key of SECRET_KEYS decrypts it") from None

    def key_of(self, sealed: str) -> int | None:
        """Return the number of the key that opens a sealed text, counted from 1, or None."""
        alone = (Vault([key]) for key in self._keys)
        return next((n for n, vault in enumerate(alone, start=1) if vault._can_open(sealed)), None)

    def _can_open(self, sealed: str) -> bool:
        try:
            self.open(sealed)
        except UnreadableSecretError:
            return False
        return True

    def tag(self, text: str) -> str:
        """Return a name for `text` that tells nothing of it to anyone without the keys.

        Keyed, or else whoever sees the name could try passwords against it. The last key is the
        one that stays while a new one is brought in.
        """
        key = self._keys[-1].reveal().encode()
        return hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()

    def open_stored(self, stored: str) -> Secret:
        """Return a secret that may be stored sealed or plain."""
        return self.open(stored) if self.is_sealed(stored) else Secret(stored)

    @staticmethod
    def is_sealed(stored: str) -> bool:
        """Tell whether a stored text is encrypted."""
        return stored.startswith(_PREFIX)

    def _fernet(self) -> MultiFernet:
        # Imported late: an upload function loads this module and never encrypts.
        from cryptography.fernet import Fernet, MultiFernet

        return MultiFernet([Fernet(key.reveal()) for key in self._keys])
