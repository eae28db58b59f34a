"""Read, invalidate and delete the keys of accounts in Redis."""

from __future__ import annotations

from collections.abc import Iterator
from glob import escape

from redis import Redis
from redis.exceptions import WatchError

from worker.core.redis_errors import redis_errors
from worker.core.redis_values import read_text
from worker.core.secrets import StoredSecret, Vault

_SCANNED = 1000  # keys per SCAN call
_BOUND = ("session", "parked", "told")  # one key for each password and PDS


class AccountCache:
    """Manages the sessions and other data of accounts in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def invalidate(self, did: str) -> None:
        """Delete an account's sessions, its parking, its last fault and its PDS URL."""
        name = escape(did)
        for pattern in (*(f"{what}:{name}:*" for what in _BOUND), f"home:{name}"):
            self._drop(pattern)

    def delete_all(self, did: str) -> None:
        """Delete all keys of an account, including its rate limit buckets."""
        self.invalidate(did)
        self._drop(f"budget:*|{escape(did)}")

    def read_all(self) -> Iterator[StoredSecret]:
        """Yield each sealed session, named by its Redis key; other values are ignored."""
        with redis_errors():
            for key in self._redis.scan_iter(match="media-atproto:session:*", count=_SCANNED):
                sealed = read_text(self._redis, key)
                if sealed is not None and Vault.is_sealed(sealed):
                    yield StoredSecret(key.decode(errors="replace"), sealed)

    def swap(self, stored: StoredSecret, sealed: str) -> bool:
        """Replace a session if it is unchanged since it was read; return whether it was."""
        name = str(stored.name)
        with redis_errors(), self._redis.pipeline() as pipe:
            pipe.watch(name)  # type: ignore[no-untyped-call]
            if pipe.get(name) != stored.text.encode():
                return False
            pipe.multi()
            pipe.set(name, sealed, keepttl=True)
            try:
                pipe.execute()
            except WatchError:
                return False
            return True

    def _drop(self, pattern: str) -> None:
        with redis_errors():
            for key in self._redis.scan_iter(match=f"media-atproto:{pattern}", count=_SCANNED):
                self._redis.delete(key)
