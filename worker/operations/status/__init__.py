"""What the operator is told: how many items are in which state, what failed, what is queued."""

from worker.database.backlog import NO_CODE
from worker.operations.backfill.retry_failed import Batch, Named, Revival, Tally
from worker.operations.status.accounts import AccountTroubles, Trouble
from worker.operations.status.counts import Counts, Overview, RemovalCounts
from worker.operations.status.failures import FailedItem, Failures, Place, Search
from worker.operations.status.throughput import Series, Throughput, throughput
from worker.queue.depth import QueueLengths, Queues

__all__ = [
    "NO_CODE",
    "AccountTroubles",
    "Batch",
    "Counts",
    "FailedItem",
    "Failures",
    "Named",
    "Overview",
    "Place",
    "QueueLengths",
    "Queues",
    "RemovalCounts",
    "Revival",
    "Search",
    "Series",
    "Tally",
    "Throughput",
    "Trouble",
    "throughput",
]
