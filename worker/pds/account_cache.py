"""What Redis keeps of an account, to be forgotten with it."""

from __future__ import annotations

from collections.abc import Iterator
from glob import escape

from redis import Redis
from redis.exceptions import WatchError

from worker.core.redis_errors import redis_errors

_SCANNED = 1000  # keys a call
_BOUND = ("session", "parked", "told")  # to a password and a PDS: there may be several


class AccountCache:
    """Everything in Redis that is named after accounts."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def invalidate(self, did: str) -> None:
        """Drop what may be wrong: sessions and parking under any password, and its home."""
        name = escape(did)
        for pattern in (*(f"{what}:{name}:*" for what in _BOUND), f"home:{name}"):
            self._drop(pattern)

    def delete_all(self, did: str) -> None:
        """Drop everything, its budgets as well."""
        self.invalidate(did)
        self._drop(f"budget:*|{escape(did)}")

    def read_all(self) -> Iterator[tuple[str, str]]:
        """Go through the sessions of all accounts: the name in Redis, and the sealed text."""
        with redis_errors():
            for key in self._redis.scan_iter(match="media-atproto:session:*", count=_SCANNED):
                sealed = self._redis.get(key)
                if isinstance(sealed, bytes):
                    yield key.decode(), sealed.decode()

    def swap(self, name: str, read: str, sealed: str) -> bool:
        """Put another text in place of a session, if that is still as it was read."""
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
