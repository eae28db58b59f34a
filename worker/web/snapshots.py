"""Fetch and cache the platform's status for all viewers and for Prometheus.

The throughput and the queues can be unavailable while the rest of a snapshot is available.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import pymongo

from worker.core.clock import now
from worker.core.errors import MediaError
from worker.database.mongo import mongo_errors
from worker.media import MEDIA_TYPES
from worker.operations.status import (
    BlockedAccount,
    BlockedAccounts,
    Counts,
    ItemCounts,
    QueueLengths,
    Queues,
    RemovalCounts,
    Throughput,
    throughput,
)
from worker.operations.status.prometheus import PlatformMetrics, Traffic
from worker.operations.watch.checkpoint import read_checkpoint
from worker.pds.rate_limiter import BucketStatus
from worker.services import Services

_PING_TIMEOUT = 3.0  # seconds for a ping of MongoDB before the long queries
_COUNT_TIMEOUT = 25.0  # seconds for all counts together
_THROUGHPUT_TIMEOUT = 10.0  # seconds
_AGE_FACTOR = 4  # limits computing to a fifth of the time
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The error of an unavailable service, and the seconds spent waiting for it."""

    message: str
    seconds: float


def try_fetch(call: Callable[[], T]) -> T | Unavailable:
    """Return the result of `call`, or Unavailable if it raises; log an unexpected error."""
    began = time.monotonic()
    try:
        return call()
    except MediaError as error:
        message = error.message
    except Exception as error:
        # Any exception: a bug in one part of the status must not hide the others.
        log.exception("a part of the status page failed")
        message = f"unexpected {type(error).__name__}: a bug; see the log of the page"
    return Unavailable(message, time.monotonic() - began)


class CachedValue(Generic[T]):
    """A value cached for `seconds`, or for four times its computation time if longer.

    Concurrent callers wait for a running computation and share its result.
    """

    def __init__(self, compute: Callable[[], T], seconds: float = 5.0) -> None:
        self._compute = compute
        self._seconds = seconds
        self._lock = threading.Lock()
        self._cached: tuple[T, float] | None = None  # the value and its expiry time

    def get(self) -> T:
        with self._lock:
            began = time.monotonic()
            if self._cached is None or self._cached[1] <= began:
                value = self._compute()
                ended = time.monotonic()
                expires = ended + max(self._seconds, _AGE_FACTOR * (ended - began))
                self._cached = value, expires
            return self._cached[0]


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """Item counts by type and in total, removals, throughput and queue lengths."""

    at: datetime
    types: Mapping[str, Counts]
    every: Counts
    removals: RemovalCounts
    throughput: Throughput | Unavailable
    queues: QueueLengths | Unavailable


@dataclass(frozen=True, slots=True)
class AccountsSnapshot:
    """The blocked accounts and the exhausted rate limit buckets."""

    at: datetime
    blocked: Sequence[BlockedAccount]
    buckets: Sequence[BucketStatus]


class StatusSnapshots:
    """Fetches snapshots from the services and caches each for at least 5 seconds."""

    def __init__(self, services: Services) -> None:
        self._storage, self._pds = services.storage, services.pds
        self._redis_url = services.settings.redis_url
        self._overview = CachedValue(lambda: try_fetch(self._fetch_overview))
        self._accounts = CachedValue(lambda: try_fetch(self._fetch_accounts))
        self._traffic = CachedValue(lambda: try_fetch(self._fetch_traffic))
        database = services.storage.database
        self._watch = CachedValue(lambda: try_fetch(lambda: read_checkpoint(database)))

    def overview(self) -> StatusSnapshot | Unavailable:
        """Return the status of all items; Unavailable if MongoDB does not answer."""
        return self._overview.get()

    def accounts(self) -> AccountsSnapshot | Unavailable:
        """Return the blocked accounts; Unavailable if MongoDB or Redis does not answer."""
        return self._accounts.get()

    def metrics(self) -> PlatformMetrics:
        """Build the platform's metrics, without those of an unavailable service."""
        overview, traffic = self._overview.get(), self._traffic.get()
        watch = None if isinstance(overview, Unavailable) else self._watch.get()
        return PlatformMetrics(
            at=now(),
            counts=None if isinstance(overview, Unavailable) else overview.types,
            traffic=None if isinstance(traffic, Unavailable) else traffic,
            watch=None if isinstance(watch, Unavailable) else watch,
        )

    def _fetch_overview(self) -> StatusSnapshot:
        self._ping()
        item_counts = ItemCounts(self._storage.database, self._storage.store)
        at = now()
        with pymongo.timeout(_COUNT_TIMEOUT):
            types = {name: item_counts.counts(kind) for name, kind in MEDIA_TYPES.items()}
            removals = item_counts.removals()
        return StatusSnapshot(
            at=at,
            types=types,
            every=Counts.sum(types.values()),
            removals=removals,
            throughput=try_fetch(lambda: self._fetch_throughput(at)),
            queues=try_fetch(self._fetch_queues),
        )

    def _fetch_throughput(self, at: datetime) -> Throughput:
        with pymongo.timeout(_THROUGHPUT_TIMEOUT):
            return throughput(self._storage.store, MEDIA_TYPES.values(), at)

    def _fetch_queues(self) -> QueueLengths:
        with closing(Queues(self._redis_url)) as queues:
            return queues.lengths()

    def _fetch_accounts(self) -> AccountsSnapshot:
        self._ping()
        storage, pds = self._storage, self._pds
        accounts = BlockedAccounts(storage.store, storage.accounts, pds.hosts, pds.parking)
        at = now()
        with pymongo.timeout(_COUNT_TIMEOUT):
            return AccountsSnapshot(at, accounts.all(), pds.rate_limiter.exhausted_buckets())

    def _fetch_traffic(self) -> Traffic:
        buckets, parking = self._pds.rate_limiter.buckets, self._pds.parking
        return Traffic(self._fetch_queues(), buckets(), len(parking.dids()))

    def _ping(self) -> None:
        """Ping MongoDB before the long queries; raises StoreUnavailableError."""
        with mongo_errors(), pymongo.timeout(_PING_TIMEOUT):
            self._storage.database.client.admin.command("ping")
