"""A producer's process: enqueues as often as it is told, and prints what each call took.

enqueue 20 -> a list of milliseconds
beside 20  -> the same of `enqueue` and of a raw LPUSH of the same message, in turn
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import redis
from bson import ObjectId

from tasks import enqueue


def main() -> None:
    """Answer the lines on stdin until there are no more."""
    for line in sys.stdin:
        command, number = line.split()
        measure = _enqueued if command == "enqueue" else _beside
        sys.stdout.write(f"{json.dumps(measure(int(number)))}\n")
        sys.stdout.flush()


def _enqueued(number: int) -> list[float]:
    return [_timed(_enqueue) for _ in range(number)]


def _beside(number: int) -> dict[str, list[float]]:
    enqueue("mood", ObjectId())
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        (message,) = client.lrange("live", 0, 0)
        pairs = [
            (_timed(_enqueue), _timed(lambda: client.lpush("live", message))) for _ in range(number)
        ]
    ours, raw = zip(*pairs, strict=True)
    return {"enqueue": list(ours), "raw": list(raw)}


def _enqueue() -> None:
    enqueue("mood", ObjectId())


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
