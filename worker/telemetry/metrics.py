"""The interface through which the engine updates metrics."""

from __future__ import annotations


class Metrics:
    """Does nothing, for commands and tests; subclasses must not raise or block."""

    def count_run(self, type_name: str, outcome: str, workload: str) -> None:
        """Count one processing run of an item, by outcome."""

    def observe_publication(self, type_name: str, workload: str, seconds: float) -> None:
        """Record the time from the save of an item to its first record on the PDS."""

    def count_retry(self, type_name: str, code: str) -> None:
        """Count a run with an error whose item will be retried, by error code."""

    def count_failure(self, type_name: str, code: str) -> None:
        """Count a run that ended failed or partial, and whose item will not be retried."""

    def count_call(self, nsid: str, status: str, seconds: float) -> None:
        """Count a PDS call by HTTP status, or by the reason for a missing response."""

    def count_blob(self, size: int) -> None:
        """Count an uploaded blob of `size` bytes."""

    def count_sweep(self, enqueued: int) -> None:
        """Count a sweep, and add the number of items it enqueued."""


NULL_METRICS = Metrics()
