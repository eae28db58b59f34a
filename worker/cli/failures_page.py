"""Failed items as tables for a person, and as lines of JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, islice

import click

from worker.cli.output import Table, say, show
from worker.core.clock import rfc3339
from worker.core.documents import Status
from worker.media import MediaType
from worker.operations.error_help import advice_for
from worker.operations.status import NO_CODE, Counts, FailedItem, Failures, Overview
from worker.operations.text import shortened
from worker.services import Services

_HEADER = ("type", "id", "owner", "status", "step", "since (UTC)", "attempts", "message")


def print_lines(services: Services, kinds: Sequence[MediaType], codes: Sequence[str]) -> int:
    """Print a JSON object a line, of each item, as they are read; return how many."""
    listed = Failures(services.database, services.store)
    count = 0
    for kind in kinds:
        for code in codes or (None,):
            for item in listed.of(kind, code):
                click.echo(json.dumps(_as_json(item)))
                count += 1
    return count


def print_page(
    services: Services, kinds: Sequence[MediaType], codes: Sequence[str], limit: int
) -> int:
    """Print the items reason by reason; return how many there are, those not shown included."""
    overview = Overview(services.database, services.store)
    listed = Failures(services.database, services.store)
    every = Counts.sum(overview.errors(kind) for kind in kinds)
    total = 0
    for code in every.codes:
        if (number := every.failed_with(code)) and (not codes or code in codes):
            items = chain.from_iterable(listed.of(kind, code, limit) for kind in kinds)
            _print_reason(code, every, list(islice(items, limit)))
            total += number
    if total:
        say("Once a reason is put right: media-atproto retry --reason CODE", "bold")
    else:
        say("Nothing failed.", "green")
    return total


def _print_reason(code: str, counts: Counts, items: Sequence[FailedItem]) -> None:
    failed, partial = counts.errors[code, Status.FAILED], counts.errors[code, Status.PARTIAL]
    say(f"{code}: {failed} failed, {partial} partial", "red" if failed else "yellow")
    if code != NO_CODE:
        advice = advice_for(code)
        say(f"  what happened: {advice.meaning}")
        say(f"  what to do: {advice.action}")
    show(Table([_cells(item) for item in items], header=_HEADER))
    if more := max(0, failed + partial - len(items)):
        say(f"  and {more} more")
    say("")


def _cells(item: FailedItem) -> tuple[str, ...]:
    error = item.error
    return (
        item.ref.type,
        str(item.ref.id),
        f"@{item.handle}" if item.handle else item.owner,
        item.status,
        error.step if error else "",
        f"{error.at:%Y-%m-%d %H:%M}" if error else "",
        str(item.attempts),
        shortened(error.message) if error else "",
    )


def _as_json(item: FailedItem) -> dict[str, object]:
    error = item.error
    return {
        "type": item.ref.type,
        "id": item.ref.id if isinstance(item.ref.id, int) else str(item.ref.id),
        "owner": item.owner,
        "handle": item.handle,
        "status": item.status,
        "attempts": item.attempts,
        "since": rfc3339(error.at) if error else None,
        "step": error.step if error else None,
        "code": error.code if error else None,
        "message": error.message if error else None,
        "permanent": error.permanent if error else None,
        "advice": advice_for(error.code).action if error else None,
    }
