"""`media-atproto failures` and `retry`: list failed items and what to do, and retry them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import open_services
from worker.cli.output import (
    ExitCode,
    Table,
    echo,
    exit_with,
    print_json,
    print_table,
)
from worker.core.clock import rfc3339
from worker.core.documents import Status
from worker.core.ids import InvalidIdError, parse_id
from worker.core.text import MAX_SHOWN, truncate
from worker.media import MEDIA_TYPES, MediaType
from worker.operations.error_help import help_for
from worker.operations.status import NO_CODE, Counts, FailedItem, Failures, ItemCounts
from worker.operations.unavailable import check_redis
from worker.services.storage import Storage

if TYPE_CHECKING:
    from worker.operations.backfill.retry import NamedItems, RetryTotals
    from worker.services import Services

_TYPES = click.option(
    "--type",
    "type_names",
    multiple=True,
    type=click.Choice(list(MEDIA_TYPES)),
    metavar="TYPE",
    help=f"Only items of this type ({', '.join(MEDIA_TYPES)}); can be given several times.",
)
_REASONS = click.option(
    "--reason",
    "codes",
    multiple=True,
    metavar="CODE",
    help="Only items with this error code; can be given several times.",
)
_HEADER = ("type", "id", "owner", "status", "step", "since (UTC)", "attempts", "message")


@click.command()
@_TYPES
@_REASONS
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="List at most N items of each reason and type; --json lists all.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line, for each item."
)
@click.pass_obj
def failures(
    env_file: Path | None,
    type_names: Sequence[str],
    codes: Sequence[str],
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List failed and partial items by reason, and what to do about each reason.

    A failed item is not retried automatically: correct the reason, then `retry` it. A partial item
    is published, but a file is missing or old; it is retried automatically if that may help.

    \b
    Exit codes:
      0  no failed or partial items
      1  failed or partial items
      2  error: wrong usage, or a service does not respond

    \b
      media-atproto failures --type painting
      media-atproto failures --reason field_invalid --json | jq -r .id
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    kinds = [MEDIA_TYPES[name] for name in type_names or MEDIA_TYPES]
    with closing(open_services(env_file)) as services:
        if as_json:
            count = print_lines(services.storage, kinds, codes)
        else:
            count = print_page(services.storage, kinds, codes, limit)
    exit_with(ExitCode.FOUND if count else ExitCode.OK)


def _parse_ids(
    _ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for value in values:
        try:
            parse_id(value)
        except InvalidIdError as error:
            raise click.BadParameter(error.message) from None
    return values


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...", callback=_parse_ids)
@_TYPES
@_REASONS
@click.option("--all", "everything", is_flag=True, help="All failed and partial items.")
@click.option("--dry-run", is_flag=True, help="Only count; change and enqueue nothing.")
@click.pass_obj
def retry(
    env_file: Path | None,
    ids: Sequence[str],
    type_names: Sequence[str],
    codes: Sequence[str],
    *,
    everything: bool,
    dry_run: bool,
) -> None:
    """Retry failed and partial items, with all their attempts.

    Select them by type, by reason or by both; by their ids, whatever their status; or with --all.
    They become pending and are enqueued in batches of one account, on the queue for bulk work. If
    the queue does not accept them, or loses them, the sweep of a running worker enqueues them.
    Items that a worker is processing are skipped.

    Correct the reason first (see failures), or the items fail again.

    \b
    Exit codes:
      0  done, or nothing to do
      1  an id is unknown, or of several types (give --type); all other items are retried
      2  error: wrong usage, or a service does not respond
      3  the queue did not accept all items: they are pending, and a sweep enqueues them

    \b
      media-atproto retry --reason source_missing --type painting --dry-run
      media-atproto retry 65f1c0ffee65f1c0ffee0001
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    _check_usage(ids, type_names, codes, everything=everything)
    kinds = [MEDIA_TYPES[name] for name in type_names or MEDIA_TYPES]
    with closing(open_services(env_file)) as services:
        named, totals = _retry(services, kinds, ids, codes, dry_run=dry_run)
    _print_skipped(named)
    if named.unknown or named.ambiguous:
        exit_with(ExitCode.FOUND)
    exit_with(ExitCode.PENDING if totals.skipped else ExitCode.OK)


def _check_usage(
    ids: Sequence[str], type_names: Sequence[str], codes: Sequence[str], *, everything: bool
) -> None:
    if ids and (codes or everything):
        raise click.UsageError("give ids, or --reason or --all, but not both")
    if not (ids or type_names or codes or everything):
        message = "give the items to retry: --type, --reason, ids, or --all"
        raise click.UsageError(message)


def _retry(
    services: Services,
    kinds: Sequence[MediaType],
    ids: Sequence[str],
    codes: Sequence[str],
    *,
    dry_run: bool,
) -> tuple[NamedItems, RetryTotals]:
    """Enqueue or only count the items, and print how many; return them and those named by id."""
    from worker.operations.backfill.planner import BackfillPlanner, to_batches
    from worker.operations.backfill.retry import RetryTotals, count_items, find_named, retry_batches

    named = find_named(services.storage.store, kinds, ids)
    failed = BackfillPlanner.of(services).failed_batches(kinds, codes)
    batches = to_batches(named.items) if ids else failed
    if dry_run:
        totals = RetryTotals(count_items(batches))
        _print_counts(totals.enqueued, "would be enqueued")
    else:
        totals = retry_batches(services, batches)
        print_totals(totals, services.settings.sweep.requeue)
    return named, totals


def print_totals(totals: RetryTotals, requeue: float) -> None:
    """Print how many items were enqueued, and how many are left to the sweep."""
    _print_counts(totals.enqueued, "enqueued")
    if totals.skipped:
        _print_counts(totals.skipped, "pending")
        message = f"The queue is full or did not accept them. {check_redis()}"
        echo(f"{message} A sweep enqueues them in {requeue:.0f} seconds.", "yellow")


def _print_counts(counts: Counter[str], what: str) -> None:
    split = ", ".join(f"{number} {name}" for name, number in counts.items())
    echo(f"{counts.total()} {what}{f': {split}' if split else ''}")


def _print_skipped(named: NamedItems) -> None:
    for ref in named.busy:
        echo(f"{ref}: skipped, because a worker is processing it")
    for text in named.unknown:
        echo(f"no item has the id {text}", "red", err=True)
    for text, types in named.ambiguous:
        echo(f"items of several types have the id {text}: give --type {types[0]}", "red", err=True)


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
    print_table(Table([_cells(item) for item in items], header=_HEADER))
    if more := max(0, failed + partial - len(items)):
        echo(f"  and {more} more")
    echo("")


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
        truncate(error.message, MAX_SHOWN) if error else "",
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
        "advice": help_for(error.code).action if error else None,
    }
