"""What the overview and the page of accounts tell: asked for once for all who look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import pymongo

from worker.core.clock import now
from worker.database.mongo import translated
from worker.media import MEDIA_TYPES
from worker.operations.status import (
    AccountTroubles,
    Counts,
    Overview,
    QueueLengths,
    Queues,
    RemovalCounts,
    Throughput,
    Trouble,
    throughput,
)
from worker.pds.rate_limiter import Gate
from worker.services import Services
from worker.web.boxes import Missing, Shared, asked

_KEPT = 5.0  # seconds
_ANSWER = 3.0  # seconds for a first answer of MongoDB, before it is asked for what takes long
_COUNT = 25.0  # seconds for counting, however many documents there are
_PLOT = 10.0  # seconds for what is published when


@dataclass(frozen=True, slots=True)
class Picture:
    """How all items stand at a moment: by type, all together, and what is not of documents."""

    at: datetime
    types: Mapping[str, Counts]
    every: Counts
    removals: RemovalCounts
    throughput: Throughput | Missing
    queues: QueueLengths | Missing


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts that cannot be used and the budgets that are spent, at a moment."""

    at: datetime
    troubles: Sequence[Trouble]
    gates: Sequence[Gate]


class Pictures:
    """Looks at the services; what was seen is kept for a few seconds."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._overview = Shared(lambda: asked(self._look), _KEPT)
        self._accounts = Shared(lambda: asked(self._look_at_accounts), _KEPT)

    def overview(self) -> Picture | Missing:
        """Return how all items stand; Missing when MongoDB does not tell."""
        return self._overview.get()

    def accounts(self) -> Accounts | Missing:
        """Return the accounts in trouble; Missing when MongoDB or Redis does not tell."""
        return self._accounts.get()

    def _look(self) -> Picture:
        self._greet()
        services = self._services
        overview = Overview(services.database, services.store)
        at = now()
        with pymongo.timeout(_COUNT):
            types = {name: overview.counts(kind) for name, kind in MEDIA_TYPES.items()}
            removals = overview.removals()
        return Picture(
            at=at,
            types=types,
            every=Counts.sum(types.values()),
            removals=removals,
            throughput=asked(lambda: self._throughput(at)),
            queues=asked(self._queue_lengths),
        )

    def _throughput(self, at: datetime) -> Throughput:
        with pymongo.timeout(_PLOT):
            return throughput(self._services.store, MEDIA_TYPES.values(), at)

    def _queue_lengths(self) -> QueueLengths:
        with closing(Queues(self._services.settings.redis_url)) as queues:
            return queues.lengths()

    def _look_at_accounts(self) -> Accounts:
        self._greet()
        services = self._services
        troubles = AccountTroubles(
            services.store, services.accounts, services.homes, services.parking
        )
        at = now()
        with pymongo.timeout(_COUNT):
            return Accounts(at, troubles.all(), services.budget.closed())

    def _greet(self) -> None:
        """Have MongoDB answer soon, or not at all; raises StoreUnavailableError."""
        with translated(), pymongo.timeout(_ANSWER):
            self._services.database.client.admin.command("ping")
