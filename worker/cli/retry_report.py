"""What commands share that have items tried again: what is told of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from worker.cli.output import echo

if TYPE_CHECKING:
    from worker.operations.backfill.retry import RetryTotals


def print_tally(tally: RetryTotals, requeue: float) -> None:
    """Tell what was enqueued, and what is left to a sweep."""
    echo_counts(tally.enqueued, "enqueued")
    if tally.skipped:
        echo_counts(tally.skipped, "not enqueued")
        message = "The queue did not take them: check that REDIS_URL names a server that answers."
        echo(f"{message} They are pending; a sweep finds them in {requeue:.0f} seconds.", "yellow")


def echo_counts(counts: Counter[str], what: str) -> None:
    """Tell numbers by type."""
    split = ", ".join(f"{number} {name}" for name, number in counts.items())
    echo(f"{counts.total()} {what}{f': {split}' if split else ''}")
