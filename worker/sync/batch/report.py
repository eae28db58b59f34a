"""How a batch ended, for the task that carried it: what to try again soon, what was given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from worker.core.documents import DocumentId, Status
from worker.sync.outcome import Outcome

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The outcome of each item of a batch, by the id that it was asked for."""

    outcomes: Sequence[tuple[DocumentId, Outcome]]

    def due_within(self, seconds: float) -> tuple[list[DocumentId], float]:
        """Return the items that are due again so soon, and how long until all of them are.

        What is published but for a file is left to the sweep: nobody should wait for a file.
        """
        waits = {
            raw: 1.0 if outcome.again else max(outcome.seconds_to_retry or 0.0, 0.0)
            for raw, outcome in self.outcomes
            if outcome.again or _is_waiting(outcome, seconds)
        }
        return list(waits), max(waits.values(), default=0.0)

    @property
    def waits(self) -> bool:
        """Tell whether an item is to be tried again by a sweep."""
        return any(outcome.seconds_to_retry is not None for _, outcome in self.outcomes)

    @property
    def given_up(self) -> str | None:
        """Name the items that a person must look at; None when there are none."""
        failed = [outcome for _, outcome in self.outcomes if outcome.is_given_up]
        if not failed:
            return None
        named = "; ".join(f"{outcome.item}: {outcome.detail}" for outcome in failed[:_MOST_NAMED])
        more = f"; and {len(failed) - _MOST_NAMED} more" if len(failed) > _MOST_NAMED else ""
        return f"{len(failed)} of {len(self.outcomes)} given up: {named}{more}"

    @property
    def summary(self) -> str:
        """Say in a few words how the items ended."""
        counts = Counter(str(outcome.status or "left") for _, outcome in self.outcomes)
        return ", ".join(f"{number} {status}" for status, number in counts.most_common())


def _is_waiting(outcome: Outcome, seconds: float) -> bool:
    wait = outcome.seconds_to_retry
    return outcome.status is Status.PENDING and wait is not None and wait <= seconds
