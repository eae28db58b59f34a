"""What the operator is told: how many items are in which state, what failed, what is queued."""

from worker.overview.accounts import AccountTroubles, Trouble
from worker.overview.counts import Counts, Overview, RemovalCounts
from worker.overview.failures import FailedItem, Failures, Place
from worker.overview.hints import NO_CODE
from worker.overview.revival import Batch, Named, Revival, Tally
from worker.overview.search import Search
from worker.overview.throughput import Series, Throughput, throughput
from worker.queue.queues import QueueLengths, Queues

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
