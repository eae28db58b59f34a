"""What a command or a program has achieved: documents per second, and CPU time by process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bench.documents import times
from bench.harness import Harness
from bench.usage import CommandRun

CLOCK = (
    "The clock runs from the command's start, less the start-up that is measured apart (Python, "
    "imports, connections), to the last document's syncedAt."
)


@dataclass(frozen=True, slots=True)
class Result:
    """The number of published documents, the seconds, and the CPU seconds by process."""

    documents: int
    seconds: float
    cpu: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Documents a second."""
        return self.documents / self.seconds


def total(results: Sequence[Result]) -> Result:
    """Return the result of several runs of the same work."""
    cpu = {name: sum(result.cpu[name] for result in results) for name in results[0].cpu}
    documents = sum(result.documents for result in results)
    return Result(documents, sum(result.seconds for result in results), cpu)


def command_result(
    harness: Harness,
    run: CommandRun,
    startup: float,
    types: Sequence[str],
    match: Mapping[str, object],
) -> Result:
    """Return the result of a command that has published all documents that match."""
    states = [state for name in types for state in harness.states(name, match)]
    if any(state.get("status") != "synced" for state in states):
        raise RuntimeError("a command has not published all documents")
    started = min(run.began + timedelta(seconds=startup), *times(states, "attemptedAt"))
    seconds = (max(times(states, "syncedAt")) - started).total_seconds()
    return Result(len(states), seconds, run.cpu)
