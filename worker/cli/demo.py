"""`media-atproto demo`: publish some sixty items with real services, and check the result."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.output import Style, Table, echo, interrupt_on_signals, print_table

if TYPE_CHECKING:
    from worker.dev.demo.check import Result
    from worker.dev.demo.demo import FinishedDemo

_PREFIX = "media-atproto-demo-"


@click.command()
@click.option(
    "--keep", is_flag=True, help="Keep running, with Flower and the status page, until Ctrl-C."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for all data and logs; it is not deleted.  [default: a temporary folder]",
)
def demo(data: Path | None, *, keep: bool) -> None:
    """Publish some sixty items from MongoDB to a PDS, and check the result.

    Starts MongoDB, Valkey, a PDS and a worker on this machine, creates accounts, and saves
    paintings, moods, pieces and programs as a platform does. Edits a mood, nukes a painting,
    uploads a broken image, and stops and starts the PDS during uploads. Then reads records and
    blobs back from the PDS and compares them with the documents.

    Progress is printed to stderr, the result to stdout. Exits with 0 if every item is as
    expected, else with 1. Services named in the environment are not used.
    """
    from worker.dev.demo.demo import play

    interrupt_on_signals()
    with ExitStack() as resources:
        folder = data or Path(tempfile.mkdtemp(prefix=_PREFIX))
        if not data and not keep:
            resources.callback(shutil.rmtree, folder)
        finished = resources.enter_context(play(folder, partial(echo, err=True), pages=keep))
        code = print_results(finished.results)
        if keep:
            _print_addresses(finished)
            finished.wait()
        echo("Stopping...", err=True)
    click.get_current_context().exit(code)


def print_results(results: Sequence[Result]) -> int:
    """Print a row for each item and a line for each fault; return the exit code."""
    header = ("", "scene", "type", "owner", "status", "why", "at:// URI")
    styles: list[Style] = ["red" if result.faults else "" for result in results]
    print_table(Table([_row(result) for result in results], header=header, styles=styles))
    for result in results:
        for fault in result.faults:
            echo(f"FAULT: {result.item.type} {result.item.id} {fault}", "red")
    if wrong := sum(bool(result.faults) for result in results):
        echo(f"{wrong} of {len(results)} items are not as expected.", "red")
        return 1
    echo(f"All {len(results)} items are as expected.", "green")
    return 0


def _row(result: Result) -> tuple[str, ...]:
    item, owner = result.item, result.item.owner.screen_name or "a guest"
    mark = "FAULT" if result.faults else "ok"
    return mark, item.scene, item.type, owner, result.status, result.why, result.uri


def _print_addresses(finished: FinishedDemo) -> None:
    print_table(Table(finished.addresses, title="Everything is still running; Ctrl-C stops it."))
    example = next(result.item for result in finished.results if result.uri and result.item.file)
    echo(f"Try: media-atproto --env-file {finished.env_file} show {example.type} {example.id}")
