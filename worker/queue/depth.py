"""Count the messages in Redis, and limit the retries that workers keep in memory.

A message is in flight while a worker processes it, or keeps it in memory until its countdown ends.
Messages with a countdown do not count towards the prefetch limit.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.core.redis_errors import redis_errors
from worker.core.secrets import Secret
from worker.queue.names import BULK, FRONT, LIVE, OVERFLOW, SWEEP, redis_list

IN_FLIGHT = "unacked"  # kombu's name for messages that are not acknowledged yet
_MAX_RETRIES = 100  # of a process: about 1 MB


class RetryLimit:
    """Limits the retries of one process that workers keep in memory until they are due.

    Any worker may receive such a message. As each process has a limit, their number grows with the
    number of processes, and does not depend on the messages that workers process meanwhile.
    """

    def __init__(self) -> None:
        self._due: list[float] = []

    def has_capacity(self) -> bool:
        """Return whether fewer retries than the limit are pending."""
        current = time.monotonic()
        while self._due and self._due[0] <= current:
            heapq.heappop(self._due)
        return len(self._due) < _MAX_RETRIES

    def add(self, seconds: float) -> None:
        """Count a retry in `seconds`."""
        heapq.heappush(self._due, time.monotonic() + seconds)


@dataclass(frozen=True, slots=True)
class QueueLengths:
    """The number of messages in each queue, with its overflow list, and in flight."""

    live: int
    sweep: int
    bulk: int
    in_flight: int


class Queues:
    """Counts the messages in the queues of one Redis database."""

    def __init__(self, url: Secret) -> None:
        # Short timeouts and no retries, because an operator waits for the result.
        self._redis = Redis.from_url(
            url.reveal(), socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )

    def lengths(self) -> QueueLengths:
        """Count the messages of each queue; raises RedisUnavailableError."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for name in (LIVE, SWEEP, BULK):
                pipe.llen(redis_list(name, FRONT))
                pipe.llen(redis_list(name, OVERFLOW))
            pipe.hlen(IN_FLIGHT)
            *waiting, in_flight = (int(length) for length in pipe.execute())
        live, sweep, bulk = (sum(waiting[place : place + 2]) for place in (0, 2, 4))
        return QueueLengths(live, sweep, bulk, in_flight)

    def close(self) -> None:
        self._redis.close()
