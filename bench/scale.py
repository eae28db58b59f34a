"""How much is measured: in full, or just enough to see that the script works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pool:
    """How a worker carries out its tasks: Celery's name for it, and how many at a time."""

    kind: str
    concurrency: int

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `celery worker` that ask for it."""
        return ("--pool", self.kind, "--concurrency", str(self.concurrency))

    def __str__(self) -> str:
        return f"{self.kind} {self.concurrency}"


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of samples.

    `authors` have an account each; `imports` and `first_calls` are fresh processes; `warm_up` is
    items for each process of a pool, which are not counted; `sides` are those of the paintings
    published one at a time, in pixels; `moods` and `paintings` are what is queued for each pool
    in each of the `rounds`.
    """

    authors: int
    imports: int
    enqueued: int
    refused: int
    first_calls: int
    latency: int
    warm_up: int
    sides: tuple[int, ...]
    rounds: int
    moods: int
    paintings: int
    pools: tuple[Pool, ...]


FULL = Scale(
    authors=20,
    imports=10,
    enqueued=2000,
    refused=20,
    first_calls=5,
    latency=100,
    warm_up=2,
    sides=(512, 1024),
    rounds=2,
    moods=60,
    paintings=24,
    pools=(
        Pool("prefork", 1),
        Pool("prefork", 2),
        Pool("prefork", 4),
        Pool("prefork", 8),
        Pool("threads", 4),
    ),
)
QUICK = Scale(
    authors=2,
    imports=1,
    enqueued=20,
    refused=3,
    first_calls=1,
    latency=2,
    warm_up=1,
    sides=(64,),
    rounds=1,
    moods=10,
    paintings=8,
    pools=(Pool("prefork", 2),),
)
