"""Cache the PDS URLs of accounts in Redis, sealed.

A URL is used for an hour, and for up to 30 days if the directory does not answer. Its age is part
of the sealed value: a value that another program copied or kept alive is not used for longer.

An account may move while its URL is in use. Therefore each URL is confirmed once more when it is no
longer fresh, even if the account is not used again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from redis import Redis

from worker.core.redis_errors import redis_errors
from worker.core.redis_values import read_lowest, read_text, read_texts, set_score
from worker.core.secrets import Purpose, UnreadableSecretError, Vault

_FRESH = 3600  # seconds
_MIN_AGE = 60  # seconds until an entry can be refreshed
_KEPT = 30 * 86_400
_UNCONFIRMED = "media-atproto:unconfirmed"
UNKNOWN_FOR = 900  # seconds until a missing DID is looked up again


@dataclass(frozen=True, slots=True)
class CachedPds:
    """A PDS URL, or None for a DID without a DID document.

    `found_at` is when the directory answered, `fresh_until` when it is asked again, in Unix time.
    """

    url: str | None
    found_at: float
    fresh_until: float

    @classmethod
    def found(cls, url: str | None) -> CachedPds:
        """Return an entry for an answer of the directory."""
        now = time.time()
        return cls(url, now, now + (_FRESH if url else UNKNOWN_FOR))

    @property
    def is_fresh(self) -> bool:
        return time.time() < self.fresh_until

    @property
    def is_new(self) -> bool:
        """Return whether the entry is too new to be refreshed."""
        return time.time() < self.found_at + _MIN_AGE

    @property
    def expires_at(self) -> float:
        return self.found_at + (_KEPT if self.url else UNKNOWN_FOR)

    def postponed(self) -> CachedPds:
        """Return the entry for use until the directory is asked again, in a minute."""
        return replace(self, fresh_until=time.time() + _MIN_AGE)


class PdsCache:
    """Reads and saves the entries of DIDs; methods raise RedisUnavailableError."""

    def __init__(self, redis: Redis, vault: Vault) -> None:
        self._redis = redis
        self._vault = vault

    def find(self, did: str) -> CachedPds | None:
        """Return the entry of a DID, or None if it is missing, unreadable or too old."""
        with redis_errors():
            return self._open(did, read_text(self._redis, _key(did)))

    def find_all(self, dids: Sequence[str]) -> dict[str, CachedPds]:
        """Return the entries of DIDs, as `find` does."""
        with redis_errors():
            texts = list(read_texts(self._redis, map(_key, dids)))
        found = ((did, self._open(did, text)) for did, text in zip(dids, texts, strict=True))
        return {did: cached for did, cached in found if cached}

    def _open(self, did: str, sealed: str | None) -> CachedPds | None:
        try:
            value = self._vault.open(sealed or "", Purpose.PDS_URL, did).reveal()
        except UnreadableSecretError:
            return None
        cached = CachedPds(*json.loads(value))
        return cached if time.time() < cached.expires_at else None

    def save(self, did: str, cached: CachedPds) -> None:
        value = json.dumps([cached.url, cached.found_at, cached.fresh_until])
        sealed = self._vault.seal(value, Purpose.PDS_URL, did)
        with redis_errors():
            self._redis.set(_key(did), sealed, exat=int(cached.expires_at) + 1)
            if cached.url:
                set_score(self._redis, _UNCONFIRMED, did, cached.fresh_until)

    def unconfirmed(self, count: int) -> list[str]:
        """Return up to `count` DIDs whose URL is no longer fresh, and was not confirmed since."""
        with redis_errors():
            return read_lowest(self._redis, _UNCONFIRMED, time.time(), count)

    def confirm(self, did: str) -> None:
        """Remove a DID from the unconfirmed ones."""
        with redis_errors():
            self._redis.zrem(_UNCONFIRMED, did)

    def confirm_later(self, did: str) -> None:
        """Return a DID no earlier than in an hour from `unconfirmed`."""
        with redis_errors():
            set_score(self._redis, _UNCONFIRMED, did, time.time() + _FRESH)


def _key(did: str) -> str:
    return f"media-atproto:home:{did}"
