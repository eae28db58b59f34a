"""`media-atproto removals`: list saved removals of records, retry them and drop them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.confirmation import DRY_RUN, YES, check_can_ask, confirm
from worker.cli.environment import open_services
from worker.cli.output import (
    Column,
    CommandError,
    ExitCode,
    Table,
    echo,
    exit_with,
    print_json,
    print_table,
)
from worker.core.clock import rfc3339
from worker.core.text import MAX_SHOWN, truncate
from worker.operations.error_help import help_for

if TYPE_CHECKING:
    from worker.database.removals import Removals, SavedRemoval

_HEADER = (
    *("removal", Column("attempts", priority=2), "due (UTC)", "code"),
    Column("message", priority=1, wraps=True),
)
_GONE = "no longer saved"


@click.command()
@click.option(
    "--retry",
    "retried",
    multiple=True,
    metavar="REMOVAL",
    help="Give this removal all its attempts again, now; can be given several times.",
)
@click.option(
    "--drop",
    "dropped",
    multiple=True,
    metavar="REMOVAL",
    help="Delete this removal: its record stays; can be given several times.",
)
@DRY_RUN
@YES
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="List at most N removals.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_obj
def removals(
    env_file: Path | None,
    retried: Sequence[str],
    dropped: Sequence[str],
    limit: int,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """List the removals of records whose documents are deleted, failed ones first.

    A removal is saved until its record is gone or its document exists again. Failed ones are not
    retried automatically. Name a removal with --retry or --drop as it is listed here.

    The record of a dropped removal stays on the PDS. So --drop asks you at a terminal to type
    `drop`. In scripts, give --yes.

    \b
    Exit codes:
      0  no removal has failed; or the named ones are retried and dropped
      1  removals have failed; a named one is no longer saved; or the
         confirmation was wrong
      2  error: wrong usage, an unknown removal, or a service does not respond
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    if dry_run and not (retried or dropped):
        raise click.UsageError("--dry-run requires --retry or --drop")
    if dropped:
        check_can_ask(dry_run=dry_run, yes=yes)
    with closing(open_services(env_file)) as services:
        if retried or dropped:
            saved = services.storage.removals
            results = _change_named(saved, retried, dropped, dry_run=dry_run, yes=yes)
            exit_with(_print_results(results, as_json=as_json))
        found = list(islice(services.storage.removals.all(), limit))
    if as_json:
        for each in found:
            print_json(_to_json(each))
    else:
        _print_page(found)
    exit_with(ExitCode.FOUND if any(each.has_failed for each in found) else ExitCode.OK)


def _change_named(
    saved: Removals, retried: Sequence[str], dropped: Sequence[str], *, dry_run: bool, yes: bool
) -> Iterator[tuple[str, str]]:
    """Retry and drop the named removals; yield each with its result.

    Raises CommandError if one of them is unknown.
    """
    for name in (*retried, *dropped):
        if not saved.exists(name):
            raise CommandError(f"there is no removal {name}")
    if dry_run:
        yield from ((name, "would be retried") for name in retried)
        yield from ((name, "would be dropped") for name in dropped)
        return
    if dropped:
        confirm(f"To drop {len(dropped)} removals, whose records stay", "drop", yes=yes)
    yield from ((name, "retried" if saved.retry(name) else _GONE) for name in retried)
    yield from ((name, "dropped" if saved.drop(name) else _GONE) for name in dropped)


def _print_results(results: Iterable[tuple[str, str]], *, as_json: bool) -> ExitCode:
    code = ExitCode.OK
    for name, result in results:
        if as_json:
            print_json({"removal": name, "result": result})
        else:
            echo(f"{result}: {name}", "red" if result == _GONE else "")
        if result == _GONE:
            code = ExitCode.FOUND
    return code


def _print_page(found: Sequence[SavedRemoval]) -> None:
    if not found:
        echo("No removal is saved.")
    print_table(Table([_row(each) for each in found], header=_HEADER))
    for code in dict.fromkeys(each.code for each in found if each.code):
        echo(f"{code}: {help_for(code).action}")


def _row(saved: SavedRemoval) -> tuple[str, ...]:
    due = rfc3339(saved.retry_at) if saved.retry_at else "failed"
    return saved.name, str(saved.attempts), due, saved.code, truncate(saved.message, MAX_SHOWN)


def _to_json(saved: SavedRemoval) -> dict[str, object]:
    return {
        "removal": saved.name,
        "attempts": saved.attempts,
        "due": rfc3339(saved.retry_at) if saved.retry_at else None,
        "code": saved.code,
        "message": saved.message,
    }
