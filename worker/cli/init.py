"""`media-atproto init`: create all indexes in MongoDB."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import complete_environment
from worker.cli.output import ExitCode, Style, echo, exit_with, on_interrupt, print_json

if TYPE_CHECKING:
    from worker.database.indexes import IndexResult

_INTERRUPTED = (
    "Interrupted. Created indexes stay, and MongoDB may complete the current one. To create the "
    "remaining ones, run the same command again."
)
_STYLES: dict[str, Style] = {"created": "green", "refused": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_obj
def init(env_file: Path | None, *, as_json: bool) -> None:
    """Create missing indexes in MongoDB, and print the result.

    Prints a line for each index: its collection, its name, and whether it was created or was
    already there. Run it before the first worker of a platform with many documents, and after an
    update: it takes about two seconds per million documents and index, and documents can be saved
    meanwhile. It can be interrupted and repeated. No index is ever dropped or changed.

    \b
    Exit codes:
      0  all indexes exist
      1  MongoDB refused to create an index; the reason and what to do are printed
      2  error: wrong usage, or MongoDB does not respond
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    complete_environment(env_file)
    from worker.core.settings import MongoSettings
    from worker.database.indexes import create
    from worker.database.mongo import connect
    from worker.services.timeouts import COMMAND

    database = connect(MongoSettings.load(os.environ), COMMAND.first)
    counts: Counter[str] = Counter()
    with on_interrupt(_INTERRUPTED), database.client:
        for made in create(database):
            counts[str(made.status)] += 1
            (_print_line if as_json else _print_result)(made)
    if not as_json:
        echo(", ".join(f"{number} {status}" for status, number in counts.items()))
    exit_with(ExitCode.FOUND if "refused" in counts else ExitCode.OK)


def _print_result(made: IndexResult) -> None:
    definition = made.definition
    place = f"{definition.collection:<18}  {definition.name:<19}"
    echo(f"{place}  {made.status} {made.detail}".rstrip(), _STYLES.get(made.status, ""))


def _print_line(made: IndexResult) -> None:
    definition = made.definition
    names = {"collection": definition.collection, "index": definition.name}
    print_json({**names, "status": str(made.status), "detail": made.detail or None})
