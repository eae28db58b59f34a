"""Print failed items as a page, or as JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain, islice

import click

from worker.cli.output import Table, echo, print_json, print_table, shown, terminal_width
from worker.cli.tables import flow, wrap_and_cut
from worker.core.clock import rfc3339
from worker.core.documents import Status
from worker.core.text import MAX_SHOWN, truncate
from worker.media import MediaType
from worker.operations.error_help import help_for
from worker.operations.status import NO_CODE, Counts, FailedItem, Failures, ItemCounts
from worker.operations.text import count_of
from worker.services.storage import Storage

_MAX_LINES = 3  # of an item on a terminal
_HEADER = ("type", "id", "owner", "status", "step", "since (UTC)", "attempts", "message")


def print_lines(storage: Storage, kinds: Sequence[MediaType], codes: Sequence[str]) -> int:
    """Print one JSON object per line for each item; return how many."""
    listed = Failures(storage.database, storage.store)
    count = 0
    for kind in kinds:
        for code in codes or (None,):
            for item in listed.of(kind, code):
                print_json(_as_json(item))
                count += 1
    return count


def print_page(
    storage: Storage, kinds: Sequence[MediaType], codes: Sequence[str], limit: int
) -> int:
    """Print the items by reason; return the total, including those not shown."""
    overview = ItemCounts(storage.database, storage.store)
    listed = Failures(storage.database, storage.store)
    every = Counts.sum(overview.errors(kind) for kind in kinds)
    total = 0
    for code in every.codes:
        if (number := every.failed_with(code)) and (not codes or code in codes):
            items = chain.from_iterable(listed.of(kind, code, limit) for kind in kinds)
            _print_reason(code, every, list(islice(items, limit)))
            total += number
    if total:
        echo("After correcting a reason: media-atproto retry --reason CODE", "bold")
    else:
        echo("Nothing failed.", "green")
    return total


def _print_reason(code: str, counts: Counts, items: Sequence[FailedItem]) -> None:
    failed, partial = counts.errors[code, Status.FAILED], counts.errors[code, Status.PARTIAL]
    echo(f"{code}: {failed} failed, {partial} partial", "red" if failed else "yellow")
    if code != NO_CODE:
        advice = help_for(code)
        echo(f"  what happened: {advice.meaning}")
        echo(f"  what to do: {advice.action}")
    if width := terminal_width(sys.stdout):
        for item in items:
            click.echo("\n".join(_format_item(item, width)))
    else:
        print_table(Table([_cells(item) for item in items], header=_HEADER))
    if more := max(0, failed + partial - len(items)):
        echo(f"  and {more} more")
    echo("")


def _format_item(item: FailedItem, width: int) -> list[str]:
    """Return two or three lines for a terminal: the item, its state and the error.

    The message is cut: `show` and --json print all of it.
    """
    attempts = count_of(item.attempts, "attempt")
    since = f"since {_since(item)} UTC" if item.error else ""
    facts = (str(item.ref), _owner(item), f"{item.status} {since}".rstrip(), attempts)
    lines = flow([shown(fact) for fact in facts], width, indent=2)
    error = item.error
    message = f"{error.step}: {truncate(error.message, MAX_SHOWN)}" if error else ""
    room = max(1, _MAX_LINES - len(lines))
    return [*lines, *wrap_and_cut(f"    {shown(message)}", width, room)]


def _cells(item: FailedItem) -> tuple[str, ...]:
    error = item.error
    return (
        item.ref.type,
        str(item.ref.id),
        _owner(item),
        item.status,
        error.step if error else "",
        _since(item),
        str(item.attempts),
        truncate(error.message, MAX_SHOWN) if error else "",
    )


def _owner(item: FailedItem) -> str:
    return f"@{item.handle}" if item.handle else item.owner


def _since(item: FailedItem) -> str:
    return f"{item.since:%Y-%m-%d %H:%M}" if item.since else ""


def _as_json(item: FailedItem) -> dict[str, object]:
    error = item.error
    return {
        "type": item.ref.type,
        "id": item.ref.id if isinstance(item.ref.id, int) else str(item.ref.id),
        "owner": item.owner,
        "handle": item.handle,
        "status": item.status,
        "attempts": item.attempts,
        "since": rfc3339(item.since) if item.since else None,
        "last": rfc3339(error.at) if error else None,
        "step": error.step if error else None,
        "code": error.code if error else None,
        "message": error.message if error else None,
        "permanent": error.permanent if error else None,
        "advice": help_for(error.code).action if error else None,
    }
