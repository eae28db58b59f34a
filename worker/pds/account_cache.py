"""The keys of accounts in Redis, to invalidate or delete them."""

from __future__ import annotations

from collections.abc import Iterator
from glob import escape

from redis import Redis
from redis.exceptions import WatchError

from worker.core.redis_errors import redis_errors

_SCANNED = 1000  # keys a call
_BOUND = ("session", "parked", "told")  # one key for each password and PDS


class AccountCache:
    """All keys in Redis that are named after accounts."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def invalidate(self, did: str) -> None:
        """Drop an account's sessions, its parking and the URL of its PDS."""
        name = escape(did)
        for pattern in (*(f"{what}:{name}:*" for what in _BOUND), f"home:{name}"):
            self._drop(pattern)

    def delete_all(self, did: str) -> None:
        """Drop all keys of an account, including its rate limits."""
        self.invalidate(did)
        self._drop(f"budget:*|{escape(did)}")

    def read_all(self) -> Iterator[tuple[str, str]]:
        """Yield the sessions of all accounts: the key in Redis, and the sealed text."""
        with redis_errors():
            for key in self._redis.scan_iter(match="media-atproto:session:*", count=_SCANNED):
                sealed = self._redis.get(key)
                if isinstance(sealed, bytes):
                    yield key.decode(), sealed.decode()

    def swap(self, name: str, read: str, sealed: str) -> bool:
        """Replace a sealed session if it is as it was read; return whether it was."""
        with redis_errors(), self._redis.pipeline() as pipe:
            pipe.watch(name)  # type: ignore[no-untyped-call]
            if pipe.get(name) != read.encode():
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
