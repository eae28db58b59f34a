"""The metrics that the engine counts."""

from __future__ import annotations


class Metrics:
    """Counts nothing: for commands and tests. Subclasses neither raise nor block."""

    def count_run(self, type_name: str, outcome: str, workload: str) -> None:
        """Count a run over an item by its outcome."""

    def observe_publication(self, type_name: str, workload: str, seconds: float) -> None:
        """Observe the time from the save of an item to its first record on the PDS."""

    def count_retry(self, type_name: str, code: str) -> None:
        """Count an item that will be retried, by its error code."""

    def count_failure(self, type_name: str, code: str) -> None:
        """Count an item that failed, or is published without one of its files."""

    def count_call(self, nsid: str, status: str, seconds: float) -> None:
        """Count a call to a PDS by its HTTP status, or by the reason for having none."""

    def count_blob(self, size: int) -> None:
        """Count an uploaded blob of `size` bytes."""

    def count_sweep(self, enqueued: int) -> None:
        """Count a sweep and the items that it has enqueued."""


NULL_METRICS = Metrics()
