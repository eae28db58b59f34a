"""`media-atproto failures` and `retry`: list failed items and what to do, and retry them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from worker.cli.arguments import as_item_id
from worker.cli.environment import open_services
from worker.cli.failures_report import print_lines, print_page
from worker.cli.options import TYPES, chosen_types
from worker.cli.output import (
    UNCHANGED,
    ExitCode,
    echo,
    exit_with,
    on_interrupt,
    print_json,
)
from worker.cli.pending_note import print_pending
from worker.core.suggestions import did_you_mean
from worker.media import MEDIA_TYPES, MediaType
from worker.operations.error_help import BUG, ERROR_HELP, help_for
from worker.operations.status import Counts, ItemCounts
from worker.operations.unavailable import check_redis
from worker.services.storage import Storage

if TYPE_CHECKING:
    from worker.operations.backfill.retry import NamedItems, RetryTotals
    from worker.services import Services


def _complete_code(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the documented error codes that start with `incomplete`."""
    codes = chain.from_iterable(each.codes for each in ERROR_HELP)
    return [CompletionItem(code) for code in codes if code.startswith(incomplete)]


_REASONS = click.option(
    "--reason",
    "codes",
    multiple=True,
    metavar="CODE",
    shell_complete=_complete_code,
    help="Only items with this error code; can be given several times.",
)
RETRY_INTERRUPTED = (
    "Interrupted. Workers process the enqueued items, and a sweep enqueues the pending ones. To "
    "retry the remaining ones, run the same command again."
)


@click.command()
@TYPES
@_REASONS
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="List at most N items of each reason, whatever their type; --json lists all.",
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
    is published, but a file is missing or old; it is retried automatically if that may help. The
    column `since` shows the first error since the item last had none; the message is the last one.

    \b
    Exit codes:
      0  no failed or partial items
      1  failed or partial items
      2  error: wrong usage, or a service does not respond

    \b
      media-atproto failures --type painting
      media-atproto failures --reason field_invalid --json | jq -r .id
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    kinds = chosen_types(type_names)
    with on_interrupt(UNCHANGED), closing(open_services(env_file)) as services:
        _check_codes(services.storage, codes)
        if as_json:
            count = print_lines(services.storage, kinds, codes)
        else:
            count = print_page(services.storage, kinds, codes, limit)
            print_pending(services.storage, kinds, codes)
    exit_with(ExitCode.FOUND if count else ExitCode.OK)


def _check_codes(storage: Storage, codes: Sequence[str]) -> None:
    """Raise click.BadParameter for a code that is not documented and that no item has."""
    unknown = [code for code in codes if help_for(code) is BUG]
    if not unknown:
        return
    counts = ItemCounts(storage.database, storage.store)
    stored = Counts.sum(counts.errors(kind) for kind in MEDIA_TYPES.values()).codes
    known = [*stored, *chain.from_iterable(each.codes for each in ERROR_HELP)]
    for code in unknown:
        if code not in stored:
            message = f"{code!r} is not an error code.{did_you_mean(code, known)}"
            raise click.BadParameter(message, param_hint="--reason")


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...", type=as_item_id)
@TYPES
@_REASONS
@click.option("--all", "everything", is_flag=True, help="All failed and partial items.")
@click.option("--dry-run", is_flag=True, help="Only count; change and enqueue nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
@click.pass_obj
def retry(
    env_file: Path | None,
    ids: Sequence[str],
    type_names: Sequence[str],
    codes: Sequence[str],
    *,
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Retry failed and partial items, with all their attempts.

    Select them by type, by reason or by both; by their ids, whatever their status; or with --all.
    They become pending and are enqueued in batches of one account, on the queue for bulk work. If
    the queue does not accept them, or loses them, the sweep of a running worker enqueues them.
    Items that a worker is processing are skipped. It can be interrupted and repeated.

    Correct the reason first (see failures), or the items fail again.

    \b
    Exit codes:
      0  all items are enqueued, or there are none
      1  an id is unknown, or of several types (give --type); all other items are retried
      2  error: wrong usage, or a service does not respond
      3  the queue did not accept all items: they are pending, and a sweep enqueues them

    \b
      media-atproto retry --reason source_missing --type painting --dry-run
      media-atproto retry 65f1c0ffee65f1c0ffee0001
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    _check_usage(ids, type_names, codes, everything=everything)
    kinds = chosen_types(type_names)
    message = UNCHANGED if dry_run else RETRY_INTERRUPTED
    with on_interrupt(message), closing(open_services(env_file)) as services:
        _check_codes(services.storage, codes)
        if not as_json:
            print_pending(services.storage, kinds, codes)
        named, totals = _retry(services, kinds, ids, codes, dry_run=dry_run)
        requeue = services.settings.sweep.requeue
    if as_json:
        print_json({**totals_json(totals), **_named_json(named)})
    else:
        print_totals(totals, requeue, "would be enqueued" if dry_run else "enqueued")
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
    """Enqueue the items, or only count them; return those named by id, and the totals."""
    from worker.operations.backfill.planner import BackfillPlanner, to_batches
    from worker.operations.backfill.retry import (
        RetryTotals,
        count_items,
        find_named,
        retry_batches,
    )

    named = find_named(services.storage.store, kinds, ids)
    failed = BackfillPlanner.of(services).failed_batches(kinds, codes)
    batches = to_batches(named.items) if ids else failed
    if dry_run:
        return named, RetryTotals(enqueued=count_items(batches))
    return named, retry_batches(services, batches)


def print_totals(totals: RetryTotals, requeue: float, done: str = "enqueued") -> None:
    """Print how many items were enqueued, and how many are left to the sweep."""
    _print_counts(totals.enqueued, done)
    if totals.skipped:
        _print_counts(totals.skipped, "pending")
        message = f"The queue is full or did not accept them. {check_redis()}"
        echo(f"{message} A sweep enqueues them in {requeue:.0f} seconds.", "yellow")


def totals_json(totals: RetryTotals) -> dict[str, object]:
    """Return the numbers of enqueued and of pending items by type, for --json."""
    return {"enqueued": dict(totals.enqueued), "pending": dict(totals.skipped)}


def _named_json(named: NamedItems) -> dict[str, object]:
    return {
        "busy": [{"type": ref.type, "id": str(ref.id)} for ref in named.busy],
        "unknown": named.unknown,
        "ambiguous": [{"id": text, "types": types} for text, types in named.ambiguous],
    }


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
