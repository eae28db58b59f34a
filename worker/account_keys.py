"""What Redis keeps of an account, to be forgotten with it."""

from __future__ import annotations

from glob import escape

from redis import Redis

from worker.redis_errors import translated

_SCANNED = 1000  # keys a call


class AccountKeys:
    """Everything in Redis that is named after accounts."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def renew(self, did: str) -> None:
        """Drop what may be wrong: sessions and parking under any password, and its home."""
        name = escape(did)
        for pattern in (f"session:{name}:*", f"parked:{name}:*", f"home:{name}"):
            self._drop(pattern)

    def forget(self, did: str) -> None:
        """Drop everything, its budgets as well."""
        self.renew(did)
        self._drop(f"budget:*|{escape(did)}")

    def _drop(self, pattern: str) -> None:
        with translated():
            for key in self._redis.scan_iter(match=f"media-atproto:{pattern}", count=_SCANNED):
                self._redis.delete(key)
