"""`media-atproto backfill` and `restore`: enqueue many items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.backfill_rehearsal import rehearse
from worker.cli.environment import open_services
from worker.cli.output import ExitCode, Table, echo, exit_with, print_table
from worker.media import MEDIA_TYPES

if TYPE_CHECKING:
    from worker.core.documents import Account
    from worker.media import MediaType
    from worker.operations.backfill.planner import BackfillPreview, Scope
    from worker.services import Services
    from worker.sync.batch.progress import BackfillProgress

TYPES = click.option(
    "--type",
    "type_names",
    multiple=True,
    type=click.Choice(list(MEDIA_TYPES)),
    help="Only items of this type; may be given several times.",
)
_DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Report what would change, by field; write nothing."
)
_WAIT = click.option("--wait", is_flag=True, help="Wait for completion, showing progress.")


@click.command()
@TYPES
@click.option(
    "--user",
    "names",
    multiple=True,
    metavar="HANDLE",
    help="Only this user's items: a handle, a subject or a DID; may be given several times.",
)
@click.option("--guests", is_flag=True, help="Only guests' items; with --user, these as well.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Enqueue at most N items.")
@click.option("--failed", is_flag=True, help="Include failed items.")
@_DRY_RUN
@_WAIT
@click.pass_obj
def backfill(
    env_file: Path | None,
    type_names: tuple[str, ...],
    names: tuple[str, ...],
    limit: int | None,
    *,
    guests: bool,
    failed: bool,
    dry_run: bool,
    wait: bool,
) -> None:
    """Publish all items that are not published, or not completely.

    These are items that were never published, are partial or pending, were left by older
    programs, or waited for an account that exists now. They are enqueued in batches of one
    account, in turns, on a queue that workers serve after all saves. Before the first write to an
    account, its repo is read, and records that already name an item are adopted.

    At most 1,000 batches are in the queue at a time: the command enqueues more as workers process
    them. It can be interrupted and repeated at any time: enqueued items are still processed, and
    the next run enqueues the remaining ones.

    With --dry-run, the items are compared with the records in their repos, and nothing is
    written. No file is read: thumbnails that are missing in a record count as a change.

    \b
    Exit codes, with --wait or --dry-run:
      0  all items that can be published are published (would be, with --dry-run)
      1  some items failed (would fail), or are published without a file
      2  error: wrong usage, an unknown account, or a service does not respond
      3  some items wait for their account or their PDS: the sweep enqueues them later
      130  interrupted: run the same command again to enqueue the remaining items
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    from worker.operations.backfill.planner import Scope

    with closing(open_services(env_file)) as services:
        owners = [services.storage.accounts.resolve(name).subject for name in names]
        owners += [services.settings.guest_subject] if guests else []
        scope = Scope(_kinds(type_names), owners or None, failed=failed, limit=limit)
        code = _run(services, scope, dry_run=dry_run, wait=wait)
    exit_with(code)


@click.command()
@click.argument("names", metavar="HANDLE...", nargs=-1, required=True)
@TYPES
@_DRY_RUN
@_WAIT
@click.pass_obj
def restore(
    env_file: Path | None,
    names: tuple[str, ...],
    type_names: tuple[str, ...],
    *,
    dry_run: bool,
    wait: bool,
) -> None:
    """Publish all items of accounts again, for example after a wipe.

    HANDLE is a handle, a subject or a DID, also of the guests' account. Hidden items (nuked,
    deleted, drafts) and items of a forgotten account are not published. Records keep their keys,
    and thumbnails come from the cache while it has them. Items whose records are missing from the
    repo are included, whatever their state.
    Can be interrupted and repeated. The exit codes are those of backfill.
    """
    from worker.operations.backfill.planner import Scope

    with closing(open_services(env_file)) as services:
        accounts = [services.storage.accounts.resolve(name) for name in names]
        kinds = _kinds(type_names)
        if not dry_run:
            _mark_missing(services, accounts, kinds)
        owners = [account.subject for account in accounts]
        scope = Scope(kinds, owners, failed=True, removed=True)
        code = _run(services, scope, dry_run=dry_run, wait=wait)
    exit_with(code)


def _kinds(names: Sequence[str]) -> list[MediaType]:
    return [kind for name, kind in MEDIA_TYPES.items() if not names or name in names]


def _mark_missing(
    services: Services, accounts: Sequence[Account], kinds: Sequence[MediaType]
) -> None:
    from worker.operations.backfill.missing_records import mark_missing

    for account in accounts:
        if count := mark_missing(services, account, kinds):
            echo(f"{account.handle}: the records of {count} published items are missing")


def _run(services: Services, scope: Scope, *, dry_run: bool, wait: bool) -> ExitCode:
    """Enqueue the items of a scope, or rehearse it; return the exit code."""
    from worker.operations.backfill.planner import BackfillPlanner

    preview = BackfillPlanner.of(services).preview(scope)
    _print_preview(preview, scope)
    if not preview.total:
        return ExitCode.OK
    if dry_run:
        return rehearse(services, scope)
    totals = {name: min(number, scope.limit or number) for name, number in preview.wanted.items()}
    try:
        return _enqueue(services, scope, totals, wait=wait)
    except KeyboardInterrupt:
        echo("Interrupted. Workers still process the items that are enqueued.")
        echo("To enqueue the remaining ones, run the same command again.")
        return ExitCode.INTERRUPTED


def _enqueue(
    services: Services, scope: Scope, totals: Mapping[str, int], *, wait: bool
) -> ExitCode:
    """Enqueue the items of a scope as workers process them; return the exit code."""
    from worker.cli.backfill_progress import open_progress
    from worker.operations.backfill.run import BackfillRun

    with open_progress(totals) as page:
        backfill_run = BackfillRun.of(services, scope, page.show)
        count = backfill_run.enqueue()
        tally = backfill_run.wait() if wait else None
    if tally:
        return _report(services, scope, tally)
    echo(f"{count} items enqueued; `media-atproto status` shows their progress")
    return ExitCode.OK


def _print_preview(preview: BackfillPreview, scope: Scope) -> None:
    limit = f", {scope.limit} of them now" if scope.limit else ""
    accounts = f"{len(preview.owners)} account{'' if len(preview.owners) == 1 else 's'}"
    echo(f"{preview.total} items of {accounts} to publish{limit}")
    rows = [(name, str(number), "") for name, number in preview.wanted.items()]
    rows += [
        (name, str(n), f"left out: {reason}") for (name, reason), n in preview.left_out.items()
    ]
    print_table(Table(sorted(rows), header=("type", "items", "")))


def _report(services: Services, scope: Scope, tally: BackfillProgress) -> ExitCode:
    """Print the results; return the exit code."""
    from worker.core.documents import Status
    from worker.operations.backfill.planner import BackfillPlanner
    from worker.sync.outcome import LEFT

    counts: Counter[str] = Counter()
    for (_, status), number in tally.ended.items():
        counts[status] += number
    _print_outcomes(tally.ended)
    for (name, reason), number in sorted(tally.reasons.items()):
        echo(f"{name}: {reason} {number}", "yellow")
    if counts["failed"] or counts["partial"]:
        return ExitCode.FOUND
    # With a limit, more items remain than were to be enqueued.
    waiting = counts[Status.PENDING] + counts[LEFT]
    left = BackfillPlanner.of(services).preview(scope).total if scope.limit is None else waiting
    if left:
        echo(f"{left} items are pending; the sweep enqueues them later", "yellow")
    return ExitCode.PENDING if left else ExitCode.OK


def _print_outcomes(ended: Mapping[tuple[str, str], int]) -> None:
    rows = [(name, status, str(number)) for (name, status), number in sorted(ended.items())]
    print_table(Table(rows, header=("type", "status", "items")))
