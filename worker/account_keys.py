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

    def forget(self, did: str) -> None:
        """Drop an account's sessions and parking under any password, its home and its budgets."""
        name = escape(did)
        patterns = [f"{what}:{name}:*" for what in ("session", "parked")]
        with translated():
            for pattern in (*patterns, f"home:{name}", f"budget:*|{name}"):
                found = self._redis.scan_iter(match=f"media-atproto:{pattern}", count=_SCANNED)
                for key in found:
                    self._redis.delete(key)
