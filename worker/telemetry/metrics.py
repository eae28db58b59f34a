"""Whoever counts what the engine does."""

from __future__ import annotations


class Metrics:
    """Counts nothing: for a terminal or a test. Methods of others neither raise nor wait either."""

    def count_run(self, type_name: str, outcome: str, workload: str) -> None:
        """Count a run over an item by how it ended."""

    def observe_publication(self, type_name: str, workload: str, seconds: float) -> None:
        """Note how long after its save an item's record was up for the first time."""

    def count_retry(self, type_name: str, code: str) -> None:
        """Count an item that waits, to be tried again for this reason."""

    def count_failure(self, type_name: str, code: str) -> None:
        """Count an item that was given up, or is up without one of its files."""

    def count_call(self, nsid: str, status: str, seconds: float) -> None:
        """Count a call to a PDS by its HTTP status, or by why there was no answer."""

    def count_blob(self, size: int) -> None:
        """Count a blob that was uploaded, in bytes."""

    def count_sweep(self, enqueued: int) -> None:
        """Count a sweep and what it has enqueued."""


NULL_METRICS = Metrics()
