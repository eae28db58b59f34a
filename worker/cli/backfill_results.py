"""Print the results of `backfill --wait`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from worker.cli.output import ExitCode, Style, Table, echo, print_table

if TYPE_CHECKING:
    from worker.sync.batch.progress import BackfillProgress

STYLES: Mapping[str, Style] = {
    "failed": "red",
    "partial": "yellow",
    "pending": "yellow",
    "synced": "green",
}
"""The styles of statuses."""


def count_statuses(tally: BackfillProgress) -> Mapping[tuple[str, str], int]:
    """Count the results by type and status; items that another run has are pending."""
    from worker.sync.outcome import LEFT

    counts: Counter[tuple[str, str]] = Counter()
    for (name, status), number in tally.ended.items():
        counts[name, "pending" if status == LEFT else status] += number
    return counts


def count_by_status(statuses: Mapping[tuple[str, str], int], wanted: str) -> int:
    """Return the number of items of all types with one status."""
    return sum(number for (_, status), number in statuses.items() if status == wanted)


def exit_code(statuses: Mapping[tuple[str, str], int], remaining: int) -> ExitCode:
    """Return the exit code of a backfill with these results."""
    if any(status in {"failed", "partial"} for _, status in statuses):
        return ExitCode.FOUND
    return ExitCode.PENDING if remaining else ExitCode.OK


def print_results(
    statuses: Mapping[tuple[str, str], int],
    reasons: Mapping[tuple[str, str], int],
    remaining: int,
) -> None:
    """Print the number of items by type and status, and the reasons of the others."""
    rows = [(name, status, str(number)) for (name, status), number in sorted(statuses.items())]
    styles = [STYLES.get(status, "") for _, status, _ in rows]
    print_table(Table(rows, header=("type", "status", "items"), styles=styles))
    errors = [(name, code, str(number)) for (name, code), number in sorted(reasons.items())]
    title = "Errors by reason"
    print_table(Table(errors, header=("type", "reason", "items"), title=title))
    if remaining:
        echo(f"{remaining} items are pending; the sweep enqueues them later", "yellow")


def results_as_json(
    statuses: Mapping[tuple[str, str], int],
    reasons: Mapping[tuple[str, str], int],
    remaining: int,
) -> Mapping[str, object]:
    """Return the results as the value of `results` in the JSON object."""
    types: dict[str, dict[str, int]] = {}
    for (name, status), number in sorted(statuses.items()):
        types.setdefault(name, {})[status] = number
    errors = [
        {"type": name, "reason": code, "items": number}
        for (name, code), number in sorted(reasons.items())
    ]
    return {"statuses": types, "reasons": errors, "pending": remaining}
