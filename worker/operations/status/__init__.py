"""What the operator is told: how many items are in which state, what failed, what is queued."""

from worker.database.backlog import NO_CODE
from worker.operations.backfill.retry_failed import Batch, Named, RetryFailed, Tally
from worker.operations.status.accounts import BlockedAccounts, Trouble
from worker.operations.status.counts import Counts, ItemCounts, RemovalCounts
from worker.operations.status.failures import FailedItem, Failures, Place, Search
from worker.operations.status.throughput import Series, Throughput, throughput
from worker.queue.depth import QueueLengths, Queues

__all__ = [
    "NO_CODE",
    "Batch",
    "BlockedAccounts",
    "Counts",
    "FailedItem",
    "Failures",
    "ItemCounts",
    "Named",
    "Place",
    "QueueLengths",
    "Queues",
    "RemovalCounts",
    "RetryFailed",
    "Search",
    "Series",
    "Tally",
    "Throughput",
    "Trouble",
    "throughput",
]
