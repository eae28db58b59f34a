"""How far a backfill is: kept in Redis by the workers, read by whoever waits for it.

A help to the eye and a reason to wait, nothing more: what is published stands on the documents.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError

from worker.core.redis_errors import redis_errors
from worker.sync.outcome import Outcome

_KEPT = 7 * 86_400  # seconds

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackfillProgress:
    """What workers have told so far.

    `batches` are those that are not done; `ended` counts items by type and status; `reasons`
    counts by type and error code or reason.
    """

    batches: int
    ended: Mapping[tuple[str, str], int]
    reasons: Mapping[tuple[str, str], int]

    @property
    def total(self) -> int:
        """Return how many items have ended."""
        return sum(self.ended.values())


class ProgressTracker:
    """The progress of all backfills, each under its name."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def expect(self, backfill: str, batch: str) -> None:
        """Note a batch that is about to be enqueued; raises RedisUnavailableError."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.sadd(_batches(backfill), batch)
            pipe.expire(_batches(backfill), _KEPT)
            pipe.execute()

    def report(
        self,
        backfill: str,
        batch: str,
        type_name: str,
        outcomes: Sequence[Outcome],
        *,
        done: bool,
    ) -> None:
        """Note how items of a batch ended, and whether all of it is done.

        Without Redis it goes untold: who waits looks at the documents in the end.
        """
        counts = Counter(_fields(type_name, outcomes))
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for name, number in counts.items():
                    pipe.hincrby(_counts(backfill), name, number)
                pipe.expire(_counts(backfill), _KEPT)
                if done:
                    pipe.srem(_batches(backfill), batch)
                pipe.execute()
        except RedisError as error:
            log.warning("progress of %s not told (%s)", backfill, type(error).__name__)

    def read(self, backfill: str) -> BackfillProgress:
        """Return what was told so far; raises RedisUnavailableError."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.scard(_batches(backfill))
            pipe.hgetall(_counts(backfill))
            batches, counts = pipe.execute()
        told = {name.decode(): int(number) for name, number in counts.items()}
        split = {tuple(name.split(":", 2)): number for name, number in told.items()}
        return BackfillProgress(
            batches=int(batches),
            ended={(key[1], key[2]): n for key, n in split.items() if key[0] == "status"},
            reasons={(key[1], key[2]): n for key, n in split.items() if key[0] == "reason"},
        )

    def forget(self, backfill: str) -> None:
        """Forget batches that nobody will tell of any more."""
        with redis_errors():
            self._redis.delete(_batches(backfill))


def _fields(type_name: str, outcomes: Sequence[Outcome]) -> list[str]:
    fields = []
    for outcome in outcomes:
        fields.append(f"status:{type_name}:{outcome.name}")
        if outcome.error:
            fields.append(f"reason:{type_name}:{outcome.error.code}")
    return fields


def _counts(backfill: str) -> str:
    return f"media-atproto:backfill:{backfill}:counts"


def _batches(backfill: str) -> str:
    return f"media-atproto:backfill:{backfill}:batches"
