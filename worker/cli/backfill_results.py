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
    tally: BackfillProgress,
    remaining: int,
) -> None:
    """Print the number of items by type and status, and the reasons of the others."""
    rows = [(name, status, str(number)) for (name, status), number in sorted(statuses.items())]
    styles = [STYLES.get(status, "") for _, status, _ in rows]
    print_table(Table(rows, header=("type", "status", "items"), styles=styles))
    for title, reasons in (
        ("Errors by reason", tally.reasons),
        ("Skipped by reason", tally.skipped),
    ):
        lines = [(name, reason, str(n)) for (name, reason), n in sorted(reasons.items())]
        print_table(Table(lines, header=("type", "reason", "items"), title=title))
    if remaining:
        echo(f"{remaining} items are pending; the sweep enqueues them later", "yellow")


def results_as_json(
    statuses: Mapping[tuple[str, str], int],
    tally: BackfillProgress,
    remaining: int,
) -> Mapping[str, object]:
    """Return the results as the value of `results` in the JSON object."""
    types: dict[str, dict[str, int]] = {}
    for (name, status), number in sorted(statuses.items()):
        types.setdefault(name, {})[status] = number
    return {
        "statuses": types,
        "reasons": _reasons_as_json(tally.reasons),
        "skipped_reasons": _reasons_as_json(tally.skipped),
        "pending": remaining,
    }


def _reasons_as_json(reasons: Mapping[tuple[str, str], int]) -> list[Mapping[str, object]]:
    return [
        {"type": name, "reason": reason, "items": number}
        for (name, reason), number in sorted(reasons.items())
    ]
