"""Snapshots of the platform's status, fetched once for all viewers and for Prometheus.

Each part of a snapshot may be unavailable without the others.
"""

from __future__ import annotations

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
from worker.operations.watch import checkpoint
from worker.pds.rate_limiter import BucketStatus
from worker.services import Services

_ANSWER = 3.0  # seconds for a first answer of MongoDB, before it is asked for what takes long
_COUNT = 25.0  # seconds for counting, however many documents there are
_PLOT = 10.0  # seconds for what is published when
T = TypeVar("T")
_SHARE = 4  # what took a second is kept for four: at most a fifth of the time goes into it
_KEPT = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a part is not there, and how many seconds went into asking for it."""

    message: str
    seconds: float


def try_fetch(call: Callable[[], T]) -> T | Unavailable:
    """Return what a call returns, or why it did not."""
    began = time.monotonic()
    try:
        return call()
    except MediaError as error:
        return Unavailable(error.message, time.monotonic() - began)


class CachedValue(Generic[T]):
    """Something that takes time to make, kept for some `seconds`, and made by one at a time.

    Whoever comes while it is being made waits for it, and gets the same.
    """

    def __init__(self, make: Callable[[], T], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: tuple[T, float] | None = None  # with the moment after which it is too old

    def get(self) -> T:
        """Return it, made now if what is kept is too old."""
        with self._lock:
            if self._kept and time.monotonic() < self._kept[1]:
                return self._kept[0]
            began = time.monotonic()
            made = self._make()
            took = time.monotonic() - began
            self._kept = made, began + took + max(self._seconds, _SHARE * took)
            return made


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """How all items stand at a moment: by type, all together, and what is not of documents."""

    at: datetime
    types: Mapping[str, Counts]
    every: Counts
    removals: RemovalCounts
    throughput: Throughput | Unavailable
    queues: QueueLengths | Unavailable


@dataclass(frozen=True, slots=True)
class AccountsSnapshot:
    """The accounts that cannot be used and the budgets that are spent, at a moment."""

    at: datetime
    blocked: Sequence[BlockedAccount]
    buckets: Sequence[BucketStatus]


class StatusSnapshots:
    """Looks at the services; what was seen is kept for a few seconds."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._overview = CachedValue(lambda: try_fetch(self._fetch), _KEPT)
        self._accounts = CachedValue(lambda: try_fetch(self._fetch_accounts), _KEPT)

    def overview(self) -> StatusSnapshot | Unavailable:
        """Return how all items stand; Missing when MongoDB does not tell."""
        return self._overview.get()

    def accounts(self) -> AccountsSnapshot | Unavailable:
        """Return the accounts in trouble; Missing when MongoDB or Redis does not tell."""
        return self._accounts.get()

    def _fetch(self) -> StatusSnapshot:
        self._ping()
        services = self._services
        overview = ItemCounts(services.database, services.store)
        at = now()
        with pymongo.timeout(_COUNT):
            types = {name: overview.counts(kind) for name, kind in MEDIA_TYPES.items()}
            removals = overview.removals()
        return StatusSnapshot(
            at=at,
            types=types,
            every=Counts.sum(types.values()),
            removals=removals,
            throughput=try_fetch(lambda: self._throughput(at)),
            queues=try_fetch(self._queue_lengths),
        )

    def _throughput(self, at: datetime) -> Throughput:
        with pymongo.timeout(_PLOT):
            return throughput(self._services.store, MEDIA_TYPES.values(), at)

    def _queue_lengths(self) -> QueueLengths:
        with closing(Queues(self._services.settings.redis_url)) as queues:
            return queues.lengths()

    def _fetch_accounts(self) -> AccountsSnapshot:
        self._ping()
        services = self._services
        blocked_accounts = BlockedAccounts(
            services.store, services.accounts, services.pds_hosts, services.parking
        )
        at = now()
        with pymongo.timeout(_COUNT):
            return AccountsSnapshot(
                at, blocked_accounts.all(), services.rate_limiter.exhausted_buckets()
            )

    def _ping(self) -> None:
        """Have MongoDB answer soon, or not at all; raises StoreUnavailableError."""
        with mongo_errors(), pymongo.timeout(_ANSWER):
            self._services.database.client.admin.command("ping")


class MetricsSnapshot:
    """The platform's figures; what was seen is kept for a few seconds, whoever asks."""

    def __init__(self, services: Services, snapshots: StatusSnapshots) -> None:
        self._services = services
        self._snapshots = snapshots
        self._traffic = CachedValue(lambda: try_fetch(self._fetch), _KEPT)
        self._watch = CachedValue(
            lambda: try_fetch(lambda: checkpoint.read_checkpoint(services.database)), _KEPT
        )

    def now(self) -> PlatformMetrics:
        """Return the figures of this moment."""
        snapshot, traffic = self._snapshots.overview(), self._traffic.get()
        watch = None if isinstance(snapshot, Unavailable) else self._watch.get()
        return PlatformMetrics(
            at=now(),
            counts=None if isinstance(snapshot, Unavailable) else snapshot.types,
            traffic=None if isinstance(traffic, Unavailable) else traffic,
            watch=None if isinstance(watch, Unavailable) else watch,
        )

    def _fetch(self) -> Traffic:
        services = self._services
        with closing(Queues(services.settings.redis_url)) as queues:
            lengths = queues.lengths()
        return Traffic(lengths, services.rate_limiter.buckets(), len(services.parking.dids()))
