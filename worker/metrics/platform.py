"""How the platform as a whole stands, for Prometheus: asked when somebody asks.

What workers count is each worker's own (see counters.py); this is the same whoever tells it, so
one process does: the status page's. All of it comes from indexes and from Redis; a part whose
service does not answer is left out, and `media_atproto_up` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from worker.budget import Budget, Gate
from worker.clock import now
from worker.documents import Status
from worker.errors import MediaError
from worker.media import MEDIA_TYPES
from worker.overview import Counts, Overview, Queues
from worker.parking import Parking

T = TypeVar("T")
_PREFIX = "media_atproto"


@dataclass(frozen=True, slots=True)
class PlatformFigures(Collector):
    """Gauges of the documents, the queues and the budgets."""

    overview: Overview
    queues: Queues
    budget: Budget
    parking: Parking

    def text(self) -> bytes:
        """Return the figures in Prometheus's text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Name nothing beforehand: to know the names would be to ask for the figures."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask each service for its part."""
        counts = _answered(self._counts)
        yield from _documents(counts or {})
        redis = _answered(self._of_redis)
        if redis is not None:
            yield from redis
        up = _gauge("up", "Whether the service answered this time", "service")
        up.add_metric(["mongodb"], counts is not None)
        up.add_metric(["redis"], redis is not None)
        yield up

    def _counts(self) -> Mapping[str, Counts]:
        return {name: self.overview.counts(kind) for name, kind in MEDIA_TYPES.items()}

    def _of_redis(self) -> list[GaugeMetricFamily]:
        lengths = asdict(self.queues.lengths())
        waiting = _gauge("queue_messages", "Messages that wait, by queue", "queue")
        for queue in ("live", "sweep", "bulk"):
            waiting.add_metric([queue], lengths[queue])
        in_hand = _gauge("in_hand_messages", "Messages in the hands of workers")
        in_hand.add_metric([], lengths["in_hand"])
        parked = _gauge("parked_accounts", "Accounts that are left alone for their trouble")
        parked.add_metric([], len(self.parking.dids()))
        return [waiting, in_hand, parked, _budgets(self.budget.gates())]


def _answered(ask: Callable[[], T]) -> T | None:
    """Return what a service answers, None when it does not."""
    try:
        return ask()
    except MediaError:
        return None


def _documents(counts: Mapping[str, Counts]) -> Iterator[GaugeMetricFamily]:
    documents = _gauge("documents", "Documents by type and state", "type", "status")
    oldest = _gauge(
        "oldest_pending_seconds", "For how long the oldest pending item has not been right", "type"
    )
    moment = now()
    for name, each in counts.items():
        documents.add_metric([name, "never"], each.never)
        for status in Status:
            documents.add_metric([name, status], each.statuses[status])
        oldest.add_metric([name], _age(each.oldest, moment))
    yield from (documents, oldest)


def _age(since: datetime | None, moment: datetime) -> float:
    return max((moment - since).total_seconds(), 0.0) if since else 0.0


def _budgets(gates: Iterable[Gate]) -> GaugeMetricFamily:
    """Return what is left of each budget: of those of accounts, where least is."""
    family = _gauge(
        "budget_left_ratio", "The share that is left of a budget, where least is", "pds", "budget"
    )
    least: dict[tuple[str, str], float] = {}
    for gate in gates:
        key = (gate.host, gate.limit)
        left = 0.0 if gate.refused else max(1 - gate.used / max(gate.points, 1), 0.0)
        least[key] = min(left, least.get(key, 1.0))
    for (host, budget), left in sorted(least.items()):
        family.add_metric([host, budget], left)
    return family


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
