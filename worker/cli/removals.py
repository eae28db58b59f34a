"""`media-atproto removals`: list saved removals of records, retry them and drop them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

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
    from worker.database.removals import SavedRemoval

_HEADER = (
    *("removal", Column("attempts", priority=2), "due (UTC)", "code"),
    Column("message", priority=1, wraps=True),
)


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
    help="Delete this removal: its record stays. Can be given several times.",
)
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
    as_json: bool,
) -> None:
    """List the removals of records whose documents are deleted, failed ones first.

    A removal is saved until its record is gone or its document exists again. Failed ones are not
    retried by themselves. Name a removal with --retry or --drop as it is listed here.

    \b
    Exit codes:
      0  no removal has failed
      1  removals have failed
      2  error: wrong usage, an unknown removal, or a service does not respond
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    with closing(open_services(env_file)) as services:
        saved = services.storage.removals
        _change(retried, saved.retry, "retried")
        _change(dropped, saved.drop, "dropped")
        if retried or dropped:
            return
        found = list(islice(saved.all(), limit))
    if as_json:
        for each in found:
            print_json(_to_json(each))
    else:
        _print_page(found)
    exit_with(ExitCode.FOUND if any(each.has_failed for each in found) else ExitCode.OK)


def _change(names: Sequence[str], change: Callable[[str], bool], done: str) -> None:
    for name in names:
        if not change(name):
            raise CommandError(f"there is no removal {name}")
        echo(f"{done}: {name}")


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
