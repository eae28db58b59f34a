"""`media-atproto backfill` and `restore`: enqueue many items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import open_services
from worker.cli.options import TYPES, USERS, chosen_types
from worker.cli.output import UNCHANGED, ExitCode, echo, exit_with, on_interrupt, print_json
from worker.core.errors import MediaError
from worker.core.redis_errors import RedisUnavailableError
from worker.database.mongo import StoreUnavailableError

if TYPE_CHECKING:
    from worker.core.documents import Account
    from worker.media import MediaType
    from worker.operations.backfill.planner import BackfillPreview, Scope
    from worker.services import Services
    from worker.sync.batch.progress import BackfillProgress

_INTERRUPTED = (
    "Interrupted. Workers still process the items that are enqueued. "
    "To enqueue the remaining ones, run the same command again."
)
_Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class _Options:
    """The options that both commands have."""

    dry_run: bool
    samples: int
    quick: bool
    wait: bool
    as_json: bool

    def __post_init__(self) -> None:
        if not self.dry_run and (self.samples or self.quick):
            raise click.UsageError("--sample and --quick require --dry-run")


_SHARED_OPTIONS = (
    click.option("--dry-run", is_flag=True, help="Report what would be published; change nothing."),
    click.option(
        "--sample",
        "samples",
        type=click.IntRange(0),
        default=0,
        metavar="N",
        help="With --dry-run: print N complete records of each type and result.",
    ),
    click.option(
        "--quick",
        is_flag=True,
        help="With --dry-run: do not read files: broken images are not found.",
    ),
    click.option("--wait", is_flag=True, help="Wait for completion, showing progress."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
)


def _with_options(command: _Command) -> _Command:
    """Add the options that both commands have."""
    for option in reversed(_SHARED_OPTIONS):
        command = option(command)
    return command


@click.command()
@TYPES
@USERS
@click.option("--guests", is_flag=True, help="Only guests' items; with --user, these as well.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Enqueue at most N items.")
@click.option("--failed", is_flag=True, help="Include failed items.")
@click.option(
    "--remake-thumbnails",
    "remake",
    is_flag=True,
    help="Make all thumbnails again, also of items that are published.",
)
@_with_options
@click.pass_obj
def backfill(
    env_file: Path | None,
    type_names: tuple[str, ...],
    names: tuple[str, ...],
    limit: int | None,
    *,
    guests: bool,
    failed: bool,
    remake: bool,
    dry_run: bool,
    samples: int,
    quick: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Publish all items that are not published, or not completely.

    These are items that were never published, are partial or pending, were left by older
    programs, or waited for an account that exists now. They are enqueued in batches of one
    account, in turns, on a queue that workers serve after all saves. Before the first write to an
    account, its repo is read, and records that already name an item are adopted. Items that are
    left out, such as failed ones, are counted by reason.

    At most 1,000 batches are in the queue at a time: the command enqueues more as workers process
    them. It can be interrupted and repeated at any time: enqueued items are still processed, and
    the next run enqueues the remaining ones.

    --remake-thumbnails covers only types with thumbnails, and also their published items. All items
    are marked first, and published ones become pending: if the command is interrupted then, the
    sweep enqueues them. A record is written again only if the bytes of its thumbnail change. If an
    image is missing or invalid, its record stays as it is, and the item is partial.

    \b
    --dry-run reports what would be done with each item, and changes nothing:
      new, changed, unchanged  would be synced; unchanged ones without a write
      partial                  would be published, but a file is missing or invalid
      failed                   would not be published
      pending                  would wait, for example for a blocked account
      removed, skipped         are hidden or incomplete

    It reads the repos, and each file that a worker would read, and decodes images. With --quick it
    only checks that files exist, and their size; with --remake-thumbnails, each record with a
    thumbnail then counts as changed. It does not log in, so it does not find a wrong password that
    is not known yet (see `doctor --accounts`).

    \b
    Keys of --json: items, accounts, limit, left_out, owners_without_account, enqueued, and:
      dry_run  results, changed_fields, reasons, missing_records, unreadable_accounts, samples
      results  with --wait: statuses, reasons, skipped_reasons, pending

    \b
    Exit codes, with --wait or --dry-run:
      0  all items that can be published are published (would be, with --dry-run)
      1  some items failed (would fail), or are published without a file
      2  error: wrong usage, an unknown account, or a service does not respond
      3  some items wait for their account or their PDS: the sweep enqueues them later
      130  interrupted: run the same command again to enqueue the remaining items
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    from worker.operations.backfill.planner import Scope

    options = _Options(dry_run, samples, quick, wait, as_json)
    kinds = _types_with_thumbnails(type_names) if remake else chosen_types(type_names)
    with closing(open_services(env_file)) as services:
        owners = [services.storage.accounts.resolve(name).subject for name in names]
        owners += [services.settings.guest_subject] if guests else []
        scope = Scope(kinds, owners or None, failed=failed, synced=remake, limit=limit)
        if remake and not dry_run:
            scope = _mark_remake(services, scope, quiet=as_json)
        code = _run(services, scope, options)
    exit_with(code)


def _types_with_thumbnails(names: Sequence[str]) -> list[MediaType]:
    """Return the chosen types with thumbnails; raises click.UsageError for other names."""
    others = [kind.name for kind in chosen_types(names) if not kind.has_thumbnails]
    if names and others:
        raise click.UsageError(f"--remake-thumbnails: there are none of {', '.join(others)}")
    return [kind for kind in chosen_types(names) if kind.has_thumbnails]


def _mark_remake(services: Services, scope: Scope, *, quiet: bool) -> Scope:
    """Mark the items of a scope; return the scope of a backfill that covers them."""
    from worker.operations.backfill.remake import mark_remake
    from worker.operations.text import count_of

    with on_interrupt(_INTERRUPTED):
        count = mark_remake(services, scope)
    if not quiet:
        echo(f"{count_of(count, 'item')} marked: their thumbnails are made again")
    return replace(scope, synced=False)


@click.command()
@click.argument("names", metavar="USER...", nargs=-1, required=True)
@TYPES
@_with_options
@click.pass_obj
def restore(
    env_file: Path | None,
    names: tuple[str, ...],
    type_names: tuple[str, ...],
    *,
    dry_run: bool,
    samples: int,
    quick: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Publish all items of accounts again, for example after a wipe.

    USER is a screen name, a handle, a subject or a DID, also of the guests' account. Hidden items
    (nuked, deleted, drafts) and items of a forgotten account are not published. Records keep their
    keys, and thumbnails come from the cache while it has them. Items whose records are missing from
    the repo are included, whatever their state.

    It can be interrupted and repeated. The options, the keys of --json and the exit codes are
    those of backfill. If the repo of an account cannot be read, its items are enqueued, but its
    missing records are not looked for: the exit code is 1, also with --dry-run.
    """
    from worker.operations.backfill.planner import Scope

    options = _Options(dry_run, samples, quick, wait, as_json)
    with closing(open_services(env_file)) as services:
        resolved = [services.storage.accounts.resolve(name) for name in names]
        accounts = {account.subject: account for account in resolved}
        kinds, unread = chosen_types(type_names), 0
        if not dry_run:
            with on_interrupt(_INTERRUPTED):
                unread = _mark_missing(services, accounts.values(), kinds, quiet=as_json)
        code = _run(services, Scope(kinds, list(accounts), failed=True, removed=True), options)
    exit_with(ExitCode.FOUND if unread else code)


def _mark_missing(
    services: Services, accounts: Iterable[Account], kinds: Sequence[MediaType], *, quiet: bool
) -> int:
    """Make items without a record pending; return the number of accounts that were not read."""
    from worker.operations.backfill.missing_records import mark_missing

    unread = 0
    for account in accounts:
        try:
            count = mark_missing(services, account, kinds)
        except (StoreUnavailableError, RedisUnavailableError):
            raise
        except MediaError as error:
            message = f"{account.handle}: missing records were not looked for: {error.message}"
            echo(message, "yellow", err=True)
            unread += 1
            continue
        if count and not quiet:
            echo(f"{account.handle}: the records of {count} published items are missing")
    return unread


def _run(services: Services, scope: Scope, options: _Options) -> ExitCode:
    """Enqueue the items of a scope, or rehearse it; return the exit code."""
    from worker.cli.backfill_preview import preview_as_json, print_preview
    from worker.operations.backfill.planner import BackfillPlanner

    preview = BackfillPlanner.of(services).preview(scope)
    if not options.as_json:
        print_preview(preview, scope)
    run = _rehearse if options.dry_run else _enqueue
    code, result = run(services, scope, preview, options)
    if options.as_json:
        none = {"dry_run": None, "enqueued": None, "results": None}
        print_json({**preview_as_json(preview, scope), **none, **result})
    return code


def _rehearse(
    services: Services, scope: Scope, preview: BackfillPreview, options: _Options
) -> tuple[ExitCode, Mapping[str, object]]:
    """Rehearse a backfill; return the exit code and the part of the JSON object."""
    from worker.cli.backfill_progress import open_progress
    from worker.cli.backfill_rehearsal import exit_code, print_rehearsal, rehearsal_as_json
    from worker.operations.backfill.rehearsal import rehearse

    with (
        on_interrupt(UNCHANGED),
        open_progress(preview.limited(scope)) as page,
    ):
        done = rehearse(
            services,
            scope,
            preview,
            samples=options.samples,
            reads_files=not options.quick,
            show=page.show,
        )
    if not options.as_json:
        print_rehearsal(done)
    return exit_code(done, scope), {"dry_run": rehearsal_as_json(done)}


def _enqueue(
    services: Services, scope: Scope, preview: BackfillPreview, options: _Options
) -> tuple[ExitCode, Mapping[str, object]]:
    """Enqueue items as workers process them; return the exit code and the part of the JSON."""
    from worker.cli.backfill_progress import open_progress
    from worker.operations.backfill.run import BackfillRun

    if not preview.total:
        return ExitCode.OK, {"enqueued": 0}
    with on_interrupt(_INTERRUPTED), open_progress(preview.limited(scope)) as page:
        backfill_run = BackfillRun.of(services, scope, page.show)
        count = backfill_run.enqueue()
        tally = backfill_run.wait() if options.wait else None
    if tally is None:
        if not options.as_json:
            echo(f"{count} items enqueued; `media-atproto status` shows their progress")
        return ExitCode.OK, {"enqueued": count}
    code, results = _report(services, scope, tally, options)
    return code, {"enqueued": count, "results": results}


def _report(
    services: Services, scope: Scope, tally: BackfillProgress, options: _Options
) -> tuple[ExitCode, Mapping[str, object]]:
    """Print the results; return the exit code and the results as JSON."""
    from worker.cli.backfill_results import (
        count_by_status,
        count_statuses,
        exit_code,
        print_results,
        results_as_json,
    )
    from worker.operations.backfill.planner import BackfillPlanner

    statuses = count_statuses(tally)
    left = count_by_status(statuses, "pending")
    if scope.limit is None:  # with a limit, more items remain than were to be enqueued
        remaining = BackfillPlanner.of(services).preview(scope).total
        wrong = ("partial", "failed") if scope.failed else ("partial",)
        left = max(left, remaining - sum(count_by_status(statuses, each) for each in wrong))
    if not options.as_json:
        print_results(statuses, tally, left)
    return exit_code(statuses, left), results_as_json(statuses, tally, left)
