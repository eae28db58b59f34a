"""Metrics of the whole platform, for Prometheus.

Each worker exports what it counts itself (`worker.telemetry.prometheus`). These metrics are the
same for all processes, so only the status page exports them. What a service did not answer is left
out, and `media_atproto_up` shows which service it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from worker.core.documents import Status
from worker.operations.status import Counts, QueueLengths
from worker.operations.watch.checkpoint import Checkpoint
from worker.pds.rate_limiter import BucketStatus

_PREFIX = "media_atproto"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What Redis tells: the queues, the budgets of which something is spent, who is parked."""

    lengths: QueueLengths
    buckets: Sequence[BucketStatus]
    parked: int


@dataclass(frozen=True, slots=True, eq=False)  # a registry keeps collectors by identity
class PlatformMetrics(Collector):
    """Gauges of a platform `at` a moment; None stands for what a service did not tell.

    `watch` is where the watch stands, None if there never was one.
    """

    at: datetime
    counts: Mapping[str, Counts] | None
    traffic: Traffic | None
    watch: Checkpoint | None

    def text(self) -> bytes:
        """Return them in Prometheus's text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Go through the figures."""
        if self.counts is not None:
            yield from _documents(self.counts, self.at)
        if self.traffic is not None:
            yield from _traffic(self.traffic)
        if self.watch is not None:
            yield from _watch(self.watch, self.at)
        up = _gauge("up", "Whether the service answered this time", "service")
        up.add_metric(["mongodb"], self.counts is not None)
        up.add_metric(["redis"], self.traffic is not None)
        yield up


def _traffic(traffic: Traffic) -> Iterator[GaugeMetricFamily]:
    lengths = asdict(traffic.lengths)
    waiting = _gauge("queue_messages", "Messages that wait, by queue", "queue")
    for queue in ("live", "sweep", "bulk"):
        waiting.add_metric([queue], lengths[queue])
    in_hand = _gauge("in_hand_messages", "Messages in the hands of workers")
    in_hand.add_metric([], lengths["in_hand"])
    parked = _gauge("parked_accounts", "Accounts that are left alone for their trouble")
    parked.add_metric([], traffic.parked)
    yield from (waiting, in_hand, parked, _budgets(traffic.buckets))


def _watch(watch: Checkpoint, at: datetime) -> Iterator[GaugeMetricFamily]:
    age = _gauge("watch_age_seconds", "How long ago the watch kept its position")
    age.add_metric([], _age(watch.saved_at, at))
    lag = _gauge("watch_lag_seconds", "How late the last change was enqueued by the watch")
    lag.add_metric([], watch.lag)
    yield from (age, lag)


def _documents(counts: Mapping[str, Counts], at: datetime) -> Iterator[GaugeMetricFamily]:
    documents = _gauge("documents", "Documents by type and state", "type", "status")
    oldest = _gauge(
        "oldest_pending_seconds", "For how long the oldest pending item has not been right", "type"
    )
    for name, each in counts.items():
        documents.add_metric([name, "never"], each.never)
        for status in Status:
            documents.add_metric([name, status], each.statuses[status])
        oldest.add_metric([name], _age(each.oldest, at))
    yield from (documents, oldest)


def _age(since: datetime | None, at: datetime) -> float:
    return max((at - since).total_seconds(), 0.0) if since else 0.0


def _budgets(buckets: Iterable[BucketStatus]) -> GaugeMetricFamily:
    """Return what is left of each budget: of those of accounts, where least is."""
    family = _gauge(
        "budget_left_ratio", "The share that is left of a budget, where least is", "pds", "budget"
    )
    least: dict[tuple[str, str], float] = {}
    for bucket in buckets:
        key = (bucket.host, bucket.limit)
        left = 0.0 if bucket.refused else max(1 - bucket.used / max(bucket.points, 1), 0.0)
        least[key] = min(left, least.get(key, 1.0))
    for (host, rate_limiter), left in sorted(least.items()):
        family.add_metric([host, rate_limiter], left)
    return family


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
