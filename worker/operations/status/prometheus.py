"""Metrics of the whole platform, for Prometheus.

Each worker exports its own counters (`worker.telemetry.prometheus`). These metrics are the same for
all processes, so only the status page exports them. If a service is unavailable, its metrics are
omitted and its `media_atproto_up` is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from worker.core.documents import Status
from worker.core.text import MAX_SHOWN, printable
from worker.operations.status import Counts, QueueLengths
from worker.operations.watch.checkpoint import Checkpoint
from worker.pds.rate_limiter import BucketStatus

_PREFIX = "media_atproto"
_DOCUMENTS = "Documents by type and status; `never` has no status yet"
_IN_FLIGHT = "Messages in flight: processed by workers, or held by them until a retry"
_PARKED = "Blocked accounts, also those whose password has changed since"
_OLDEST = "Longest time since the first error of a pending item; 0 if none has an error"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Queue lengths, rate limit buckets and number of parked accounts, from Redis."""

    lengths: QueueLengths
    buckets: Sequence[BucketStatus]
    parked: int


@dataclass(frozen=True, slots=True, eq=False)  # a registry hashes its collectors
class PlatformMetrics(Collector):
    """Exports gauges of the platform at the time `at`.

    `counts` is None if MongoDB did not answer, `traffic` if Redis did not answer. `watch` is None
    if MongoDB did not answer or has no checkpoint.
    """

    at: datetime
    counts: Mapping[str, Counts] | None
    traffic: Traffic | None
    watch: Checkpoint | None

    def text(self) -> bytes:
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if self.counts is not None:
            yield from _documents(self.counts, self.at)
        if self.traffic is not None:
            yield from _traffic(self.traffic)
        if self.watch is not None:
            yield from _watch(self.watch, self.at)
        up = _gauge("up", "Whether the service answered", "service")
        up.add_metric(["mongodb"], self.counts is not None)
        up.add_metric(["redis"], self.traffic is not None)
        yield up


def _traffic(traffic: Traffic) -> Iterator[GaugeMetricFamily]:
    lengths = asdict(traffic.lengths)
    waiting = _gauge("queue_messages", "Waiting messages by queue", "queue")
    for queue in ("live", "sweep", "bulk"):
        waiting.add_metric([queue], lengths[queue])
    yield waiting
    yield _value(
        "in_hand_messages",
        _IN_FLIGHT,
        lengths["in_flight"],
    )
    yield _value(
        "parked_accounts",
        _PARKED,
        traffic.parked,
    )
    yield _budgets(traffic.buckets)


def _watch(watch: Checkpoint, at: datetime) -> Iterator[GaugeMetricFamily]:
    age = _age(watch.saved_at, at)
    yield _value("watch_age_seconds", "Age of the checkpoint of the watch", age)
    yield _value("watch_lag_seconds", "Delay of the last change that watch enqueued", watch.lag)


def _documents(counts: Mapping[str, Counts], at: datetime) -> Iterator[GaugeMetricFamily]:
    documents = _gauge("documents", _DOCUMENTS, "type", "status")
    oldest = _gauge("oldest_pending_seconds", _OLDEST, "type")
    for name, each in counts.items():
        documents.add_metric([name, "never"], each.never)
        for status in Status:
            documents.add_metric([name, status], each.statuses[status])
        oldest.add_metric([name], _age(each.oldest, at))
    yield from (documents, oldest)


def _age(since: datetime | None, at: datetime) -> float:
    return max((at - since).total_seconds(), 0.0) if since else 0.0


def _budgets(buckets: Iterable[BucketStatus]) -> GaugeMetricFamily:
    """Build the gauge with the lowest remaining share of each rate limit's buckets."""
    text = "Least remaining share of a rate limit"
    family = _gauge("budget_left_ratio", text, "pds", "budget")
    least: dict[tuple[str, str], float] = {}
    for bucket in buckets:
        # From the names of Redis keys.
        key = (printable(bucket.host[:MAX_SHOWN]), printable(bucket.limit[:MAX_SHOWN]))
        left = 0.0 if bucket.refused else max(1 - bucket.used / max(bucket.points, 1), 0.0)
        least[key] = min(left, least.get(key, 1.0))
    for labels, left in sorted(least.items()):
        family.add_metric(labels, left)
    return family


def _value(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
