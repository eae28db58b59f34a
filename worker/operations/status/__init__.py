"""Query the status of the platform: item counts, failures, queues, throughput."""

from worker.database.backlog import NO_CODE
from worker.operations.status.accounts import BlockedAccount, BlockedAccounts
from worker.operations.status.counts import Counts, ItemCounts, RemovalCounts
from worker.operations.status.failures import FailedItem, Failures, PageCursor
from worker.operations.status.search import Match, Search
from worker.operations.status.throughput import Series, Throughput, throughput
from worker.queue.depth import QueueLengths, Queues

__all__ = [
    "NO_CODE",
    "BlockedAccount",
    "BlockedAccounts",
    "Counts",
    "FailedItem",
    "Failures",
    "ItemCounts",
    "Match",
    "PageCursor",
    "QueueLengths",
    "Queues",
    "RemovalCounts",
    "Search",
    "Series",
    "Throughput",
    "throughput",
]
