"""Track the progress of backfills in Redis, for display only."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from redis import Redis
from redis.exceptions import RedisError

from worker.core.documents import Status
from worker.core.redis_errors import redis_errors
from worker.sync.outcome import Outcome

_KEPT = 7 * 86_400  # seconds
# The counters of `report`; other fields are ignored.
_NAME = re.compile(r"(status|reason|skipped):([\w.-]{1,64}):([\w.-]{1,64})", re.ASCII)
_NUMBER = re.compile(rb"[0-9]{1,19}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackfillProgress:
    """The progress of one backfill, as reported by workers.

    `batches` is the number of unfinished batches. `ended` counts items by type and status,
    `reasons` counts errors by type and code, `skipped` skipped items by type and reason.
    """

    batches: int
    ended: Mapping[tuple[str, str], int]
    reasons: Mapping[tuple[str, str], int]
    skipped: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.ended.values())


class ProgressTracker:
    """Saves the progress of backfills in Redis; `backfill` is the name of one."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def expect(self, backfill: str, batch: str) -> None:
        """Register a batch before it is enqueued; raises RedisUnavailableError."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.sadd(_batches(backfill), batch)
            pipe.expire(_batches(backfill), _KEPT)
            pipe.execute()

    def report(
        self, backfill: str, batch: str, type_name: str, outcomes: Sequence[Outcome], *, done: bool
    ) -> None:
        """Count the outcomes of a batch; `done` ends the batch. Redis errors are logged."""
        errors = [outcome.error for outcome in outcomes if outcome.error]
        skipped = [outcome.detail for outcome in outcomes if outcome.status is Status.SKIPPED]
        counts = Counter(f"status:{type_name}:{outcome.name}" for outcome in outcomes)
        counts += Counter(f"reason:{type_name}:{error.code}" for error in errors)
        counts += Counter(f"skipped:{type_name}:{reason}" for reason in skipped)
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for name, number in counts.items():
                    pipe.hincrby(_counts(backfill), name, number)
                pipe.expire(_counts(backfill), _KEPT)
                if done:
                    pipe.srem(_batches(backfill), batch)
                pipe.execute()
        except RedisError as error:
            log.warning("progress of %s not reported (%s)", backfill, type(error).__name__)

    def read(self, backfill: str) -> BackfillProgress:
        """Return the progress of a backfill; raises RedisUnavailableError."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.scard(_batches(backfill))
            pipe.hgetall(_counts(backfill))
            batches, counts = pipe.execute()
        numbers = {
            found.groups(): int(number)
            for name, number in counts.items()
            if (found := _NAME.fullmatch(name.decode(errors="replace")))
            and _NUMBER.fullmatch(number)
        }
        return BackfillProgress(
            batches=int(batches),
            ended={(key[1], key[2]): n for key, n in numbers.items() if key[0] == "status"},
            reasons={(key[1], key[2]): n for key, n in numbers.items() if key[0] == "reason"},
            skipped={(key[1], key[2]): n for key, n in numbers.items() if key[0] == "skipped"},
        )

    def forget(self, backfill: str) -> None:
        """Delete the unfinished batches of a backfill; raises RedisUnavailableError."""
        with redis_errors():
            self._redis.delete(_batches(backfill))


def _counts(backfill: str) -> str:
    return f"media-atproto:backfill:{backfill}:counts"


def _batches(backfill: str) -> str:
    return f"media-atproto:backfill:{backfill}:batches"
