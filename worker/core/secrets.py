"""Wrap secrets to keep them out of logs, and encrypt them for storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_PREFIX = "fernet:"
_MAX_OPENED = 500
_LONGEST_OPENED = 4096  # characters; a sealed session has 1,500


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
    """No key in SECRET_KEYS decrypts a stored text, or it is bound to something else."""


class Purpose(Enum):
    """What a sealed text is used for."""

    PASSWORD = "password"  # noqa: S105 - not a password
    SESSION = "session"
    PDS_URL = "pds_url"
    PARKING = "parking"
    ADOPTION = "adoption"


_REPEATED = frozenset({Purpose.SESSION, Purpose.PDS_URL})


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret as it is stored, sealed or plain; `name` identifies it in its store.

    `did` is the account that a password belongs to, and None for a session.
    """

    name: object
    text: str = field(repr=False)
    did: str | None = None


class Vault:
    """Encrypts with the first key and decrypts with any key of SECRET_KEYS.

    The format of an encrypted text is `fernet:TOKEN` (https://github.com/fernet/spec). The token
    contains a purpose and a subject, the account that the text belongs to. A text that was copied
    to another place is therefore not decrypted there. Decrypted sessions and PDS URLs stay in
    memory, because each run reads those of its account.
    """

    def __init__(self, keys: Iterable[Secret]) -> None:
        self._keys = tuple(keys)
        self._opened: dict[tuple[str, Purpose, str], Secret] = {}

    def seal(self, plain: str, purpose: Purpose, subject: str) -> str:
        """Encrypt a text for one purpose and one subject."""
        return self._encrypt(json.dumps([purpose.value, subject, plain]))

    def open(self, sealed: str, purpose: Purpose, subject: str) -> Secret:
        """Decrypt a text that was sealed for a purpose and a subject.

        Raises UnreadableSecretError if no key decrypts it, or if it was sealed for others.
        """
        key = (sealed, purpose, subject)
        if known := self._opened.get(key):
            return known
        secret = self._open(sealed, purpose, subject)
        if purpose in _REPEATED and len(sealed) <= _LONGEST_OPENED:
            if len(self._opened) >= _MAX_OPENED:
                self._opened.clear()
            self._opened[key] = secret
        return secret

    def _open(self, sealed: str, purpose: Purpose, subject: str) -> Secret:
        try:
            content = json.loads(self._decrypt(sealed))
        except json.JSONDecodeError:
            content = None  # not sealed by this class
        if not isinstance(content, list) or content[:2] != [purpose.value, subject]:
            raise UnreadableSecretError(
                "it was sealed for another account or purpose: store it again in plain text"
            )
        return Secret(content[2])

    def open_password(self, stored: str, did: str) -> Secret:
        """Return the stored password of an account; raises UnreadableSecretError."""
        return (
            self.open(stored, Purpose.PASSWORD, did) if self.is_sealed(stored) else Secret(stored)
        )

    def reseal(self, sealed: str) -> str:
        """Encrypt a sealed text with the first key, for the same purpose and subject."""
        return self._encrypt(self._decrypt(sealed))

    def key_of(self, sealed: str) -> int | None:
        """Return the number (from 1) of the key that decrypts `sealed`, or None."""
        for number, key in enumerate(self._keys, start=1):
            with suppress(UnreadableSecretError):
                Vault([key])._decrypt(sealed)
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

    def _encrypt(self, text: str) -> str:
        return _PREFIX + self._fernet().encrypt(text.encode()).decode()

    def _decrypt(self, sealed: str) -> str:
        from cryptography.fernet import InvalidToken

        try:
            token = sealed.removeprefix(_PREFIX).encode()
            return self._fernet().decrypt(token).decode()
        except (InvalidToken, UnicodeEncodeError):
            raise UnreadableSecretError("no key of SECRET_KEYS decrypts it") from None

    def _fernet(self) -> MultiFernet:
        # Imported on first use: producers import this module but never encrypt.
        from cryptography.fernet import Fernet, MultiFernet

        return MultiFernet([Fernet(key.reveal()) for key in self._keys])
