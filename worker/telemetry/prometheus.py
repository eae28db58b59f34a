"""What a worker counts, for Prometheus.

Labels hold names of ours and of the AT Protocol alone: no id, account or host, of which there is
no end.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from worker.telemetry.metrics import Metrics

_PREFIX = "media_atproto"
# A save is to be up within a second; after an outage it may be half a day.
_WAITS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43_200)
_CALLS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)


class PrometheusMetrics(Metrics):
    """A Recorder whose figures are in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{_PREFIX}_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"{_PREFIX}_{name}", text, labels, registry=registry, buckets=buckets)

        self._items = counter(
            "items", "Runs over items, by how they ended", "type", "outcome", "lane"
        )
        self._waits = histogram(
            "save_to_record_seconds",
            "From the save of an item to its first record on the PDS",
            _WAITS,
            "type",
            "lane",
        )
        self._retries = counter("retries", "Items that wait to be tried again", "type", "code")
        self._failures = counter(
            "failures", "Items given up, or up without one of their files", "type", "code"
        )
        self._calls = counter(
            "pds_calls", "Calls to PDSes, by method and status", "method", "status"
        )
        self._call_seconds = histogram(
            "pds_call_seconds", "How long PDSes took to answer", _CALLS, "method"
        )
        # Its file is opened now, where that may fail: to count never does.
        self._call_seconds.labels("com.atproto.repo.putRecord")
        self._blobs = counter("blobs", "Blobs uploaded")
        self._blob_bytes = counter("blob_bytes", "Bytes of blobs uploaded")
        self._sweeps = counter("sweeps", "Sweeps that have ended")
        self._swept = counter("swept", "Items and removals that sweeps have enqueued")

    def count_run(self, type_name: str, outcome: str, workload: str) -> None:
        """Count a run over an item by how it ended."""
        self._items.labels(type_name, outcome, workload).inc()

    def observe_publication(self, type_name: str, workload: str, seconds: float) -> None:
        """Note how long after its save an item's record was up for the first time."""
        self._waits.labels(type_name, workload).observe(seconds)

    def count_retry(self, type_name: str, code: str) -> None:
        """Count an item that waits, to be tried again for this reason."""
        self._retries.labels(type_name, code).inc()

    def count_failure(self, type_name: str, code: str) -> None:
        """Count an item that was given up, or is up without one of its files."""
        self._failures.labels(type_name, code).inc()

    def count_call(self, nsid: str, status: str, seconds: float) -> None:
        """Count a call to a PDS by its HTTP status, or by why there was no answer."""
        self._calls.labels(nsid, status).inc()
        self._call_seconds.labels(nsid).observe(seconds)

    def count_blob(self, size: int) -> None:
        """Count a blob that was uploaded, in bytes."""
        self._blobs.inc()
        self._blob_bytes.inc(size)

    def count_sweep(self, enqueued: int) -> None:
        """Count a sweep and what it has enqueued."""
        self._sweeps.inc()
        self._swept.inc(enqueued)
