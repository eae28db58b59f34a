"""The Prometheus metrics of a worker.

Label values are only names defined by this project and the AT Protocol. Ids, accounts and hosts
would create an unlimited number of time series.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from worker.telemetry.metrics import Metrics

_PREFIX = "media_atproto"
# A save should be published within a second; after an outage it may take half a day.
_WAITS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43_200)
_RUNS = "Runs of items, by outcome, also of items that needed no write"
_RETRIES = "Runs that ended with an error, and whose item will be retried"
_FAILURES = "Runs that ended failed or partial, and whose item will not be retried automatically"
_CALLS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)


class PrometheusMetrics(Metrics):
    """Implements the metrics with counters and histograms in a Prometheus registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{_PREFIX}_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"{_PREFIX}_{name}", text, labels, registry=registry, buckets=buckets)

        self._items = counter(
            "items",
            _RUNS,
            "type",
            "outcome",
            "lane",
        )
        self._waits = histogram(
            "save_to_record_seconds",
            "From the save of an item to its first record on the PDS",
            _WAITS,
            *("type", "lane"),
        )
        self._retries = counter("retries", _RETRIES, "type", "code")
        self._failures = counter("failures", _FAILURES, "type", "code")
        self._calls = counter("pds_calls", "Calls to PDS hosts", "method", "status")
        self._call_seconds = histogram(
            "pds_call_seconds", "Duration of calls to PDS hosts", _CALLS, "method"
        )
        # This opens the metric file here, where an error is handled; counting must not raise.
        self._call_seconds.labels("com.atproto.repo.putRecord")
        self._blobs = counter("blobs", "Blobs uploaded")
        self._blob_bytes = counter("blob_bytes", "Bytes of blobs uploaded")
        self._sweeps = counter("sweeps", "Completed sweeps")
        self._swept = counter("swept", "Items and removals enqueued by sweeps")

    def count_run(self, type_name: str, outcome: str, workload: str) -> None:
        self._items.labels(type_name, outcome, workload).inc()

    def observe_publication(self, type_name: str, workload: str, seconds: float) -> None:
        self._waits.labels(type_name, workload).observe(seconds)

    def count_retry(self, type_name: str, code: str) -> None:
        self._retries.labels(type_name, code).inc()

    def count_failure(self, type_name: str, code: str) -> None:
        self._failures.labels(type_name, code).inc()

    def count_call(self, nsid: str, status: str, seconds: float) -> None:
        self._calls.labels(nsid, status).inc()
        self._call_seconds.labels(nsid).observe(seconds)

    def count_blob(self, size: int) -> None:
        self._blobs.inc()
        self._blob_bytes.inc(size)

    def count_sweep(self, enqueued: int) -> None:
        self._sweeps.inc()
        self._swept.inc(enqueued)
