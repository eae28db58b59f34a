"""`media-atproto demo`: publish some sixty items with real services, and check the result."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.output import (
    Column,
    ExitCode,
    Style,
    Table,
    echo,
    exit_with,
    interrupt_on_signals,
    on_interrupt,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from worker.dev.demo.check import Result
    from worker.dev.demo.demo import FinishedDemo
    from worker.dev.demo.stories import Story

_PREFIX = "media-atproto-demo-"
_MOST_FAULTS = 5
_ITEMS = (
    Column(""),
    Column("scene", priority=1),
    Column("type"),
    Column("owner", priority=2),
    Column("status"),
    Column("why", priority=3),
    Column("at:// URI", priority=4),
)


@click.command()
@click.option("--items", is_flag=True, help="Also print a row for each item.")
@click.option(
    "--keep", is_flag=True, help="Keep running, with Flower and the status page, until Ctrl-C."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for all data and logs; it is not deleted.  [default: a temporary folder]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def demo(data: Path | None, *, items: bool, keep: bool, as_json: bool) -> None:
    """Publish some sixty items from MongoDB to a PDS, and check the result.

    Starts MongoDB, Valkey, a PDS and a worker on this machine, creates accounts, and saves
    paintings, moods, pieces and programs as a platform does. Edits a mood, hides a painting,
    uploads a broken image, and stops and starts the PDS during uploads. Then reads records and
    files back from the PDS and compares them with the documents.

    Prints progress to stderr and the result to stdout. Services named in the environment are not
    used. With --keep or --data, the data stays when the demo ends: about 320 MB.

    \b
    Exit codes:
      0  all items are as expected
      1  an item is not as expected
      2  error: wrong usage, or a service did not start or has stopped
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    from worker.dev.demo.demo import play

    interrupt_on_signals()
    progress = partial(echo, err=True)
    with on_interrupt("The demo was interrupted; all its programs are stopped."):
        with _data_folder(data, keep=keep) as folder, play(folder, progress, pages=keep) as done:
            code = report(done.results, items=items, as_json=as_json)
            if keep:
                _print_addresses(done, as_json=as_json)
                done.wait()
            progress("Stopping...")
        if not keep:
            _print_next_steps(as_json=as_json)
    exit_with(code)


@contextmanager
def _data_folder(data: Path | None, *, keep: bool) -> Iterator[Path]:
    """Yield the folder for all data; at the end remove it, or print where it is."""
    with ExitStack() as resources:
        folder = data or Path(tempfile.mkdtemp(prefix=_PREFIX))
        remove = not data and not keep
        resources.callback(shutil.rmtree if remove else _print_leftovers, folder)
        yield folder


def _print_leftovers(folder: Path) -> None:
    """Print the path and the size of the remaining files, and how to remove them."""
    size = sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
    echo(f"Data and logs remain: {size / 1e6:.0f} MB. Remove them with:", err=True)
    echo(f"  rm -r {folder.resolve()}", err=True)


def report(results: Sequence[Result], *, items: bool = False, as_json: bool = False) -> ExitCode:
    """Print the result; return the exit code."""
    from worker.dev.demo.stories import tell_stories

    stories = tell_stories(results)
    if as_json:
        print_json(_as_json(stories, results))
    else:
        if items:
            _print_items(results)
        _print_stories(stories)
        _print_verdict(results, items=items)
    return ExitCode.FOUND if any(result.faults for result in results) else ExitCode.OK


def _print_items(results: Sequence[Result]) -> None:
    styles: list[Style] = ["red" if result.faults else "" for result in results]
    print_table(Table([_row(result) for result in results], header=_ITEMS, styles=styles))
    echo("")


def _row(result: Result) -> tuple[str, ...]:
    item, owner = result.item, result.item.owner.screen_name or "a guest"
    mark = "FAULT" if result.faults else "ok"
    return mark, item.scene, item.type, owner, result.status, result.why, result.uri


def _print_stories(stories: Sequence[Story]) -> None:
    """Print a line for each story."""
    for story in stories:
        if story.faulty:
            text = f"{story.faulty} of {len(story.results)} items are not as expected"
            echo(f"FAULT  {story.title:<12}  {text}", "red")
        else:
            echo(f"ok     {story.title:<12}  {story.text}")


def _print_verdict(results: Sequence[Result], *, items: bool) -> None:
    """Print the faults, and what became of all items."""
    faults = [(result.item, fault) for result in results for fault in result.faults]
    shown = faults if items else faults[:_MOST_FAULTS]
    for item, fault in shown:
        echo(f"FAULT: {item.type} {item.id} {fault}", "red")
    if len(shown) < len(faults):
        echo(f"{len(faults) - len(shown)} more faults: use --items to print all.", "red")
    if wrong := sum(bool(result.faults) for result in results):
        echo(f"{wrong} of {len(results)} items are not as expected.", "red")
        return
    counts = Counter(result.status for result in results).most_common()
    by_status = ", ".join(f"{number} {status}" for status, number in counts)
    echo(f"All {len(results)} items are as expected: {by_status}.", "green")


def _as_json(stories: Sequence[Story], results: Sequence[Result]) -> dict[str, object]:
    return {
        "stories": [
            {
                "title": story.title,
                "checked": story.text,
                "items": len(story.results),
                "faulty": story.faulty,
            }
            for story in stories
        ],
        "items": [
            {
                "scene": result.item.scene,
                "type": result.item.type,
                "id": str(result.item.id),
                "owner": result.item.owner.screen_name,
                "status": result.status,
                "why": result.why or None,
                "uri": result.uri or None,
                "faults": list(result.faults),
            }
            for result in results
        ],
    }


def _print_addresses(finished: FinishedDemo, *, as_json: bool) -> None:
    """Print where the pages are, and a command that uses the running services."""
    say = partial(echo, err=as_json)
    say("")
    say("Everything is still running; Ctrl-C stops it.", "bold")
    for name, address in finished.pages:
        say(f"  {name:<12}  {address}")
    example = next(result.item for result in finished.results if result.uri and result.item.file)
    say("Show an item, or use any other command:")
    say(f"  {_program()} --env-file {finished.env_file} \\")
    say(f"    show {example.type} {example.id}")


def _print_next_steps(*, as_json: bool) -> None:
    """Print commands to run next; to stderr if stdout is for JSON."""
    program = _program()
    for line in (
        "",
        "Next:",
        f"  {program} demo --keep",
        "      runs the same, and stays, with Flower and the status page",
        f"  {program} stack --env-file .env",
        "      runs the services for data of your own: see docs/your-data.md",
    ):
        echo(line, err=as_json)


def _program() -> str:
    """Return how to call this program: by its name, if the shell finds it."""
    name = Path(sys.argv[0]).name
    return name if shutil.which(name) else sys.argv[0]
