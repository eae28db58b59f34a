"""`media-atproto demo`: the whole pipeline at work, and proof that it did what it should."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.output import Style, Table, echo, interrupt_on_signals, print_table

if TYPE_CHECKING:
    from worker.dev.demo.demo import DemoRun
    from worker.dev.demo.verification import Line, Report

_PREFIX = "media-atproto-demo-"


@click.command()
@click.option(
    "--keep", is_flag=True, help="Leave all running, with Flower and the status page, until Ctrl-C."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for all data and logs; it stays.  [default: a temporary one]",
)
def demo(data: Path | None, *, keep: bool) -> None:
    """Watch about 60 items travel from MongoDB to the PDS, and check that they arrived.

    Starts MongoDB, Valkey, a PDS and a worker on this machine; makes accounts; uploads
    paintings, moods, pieces and programs as a platform does; edits one, nukes one, breaks one;
    stops the PDS in the middle and starts it again. Then reads every record and blob back and
    holds them against the documents.

    Progress goes to stderr, the report to stdout. Exits with 0 when all is as it should be,
    with 1 when it is not. Services that the environment names are left alone.
    """
    from worker.dev.demo.demo import play
    from worker.dev.demo.display import open_display

    interrupt_on_signals()
    with ExitStack() as resources:
        folder = resources.enter_context(_folder(data, keep=keep))
        with open_display() as display:
            run = resources.enter_context(play(folder, display, flower=keep))
        print_report(run.report)
        if keep:
            _print_addresses(run)
            run.wait()
        echo("Stopping...", err=True)
    click.get_current_context().exit(exit_code(run.report))


@contextmanager
def _folder(data: Path | None, *, keep: bool) -> Iterator[Path]:
    if data is not None:
        yield data
    elif keep:
        yield Path(tempfile.mkdtemp(prefix=_PREFIX))
    else:
        with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
            yield Path(folder)


def print_report(report: Report) -> None:
    """Print a row for each item, a line for each fault, and the sum of it."""
    header = ("", "scene", "type", "owner", "status", "why", "at:// URI")
    rows = [("FAULT" if line.faults else "ok", *_cells(line)) for line in report.lines]
    styles: list[Style] = ["red" if line.faults else "" for line in report.lines]
    print_table(Table(rows, header=header, styles=styles))
    for fault in report.faults:
        echo(f"FAULT: {fault}", "red")
    total = f"{len(report.lines)} items; read back {report.records} records, {report.blobs} blobs"
    size = f"({report.blob_bytes / 2**20:.1f} MiB)"
    if report.faults:
        count = len(report.faults)
        echo(f"{total} {size}: {count} fault{'' if count == 1 else 's'}.", "red")
    else:
        echo(f"{total} {size}: all is as it should be.", "green")


def exit_code(report: Report) -> int:
    """Return 0 when all is as it should be, else 1."""
    return 1 if report.faults else 0


def _cells(line: Line) -> tuple[str, ...]:
    return line.scene, line.type, line.owner, line.status, line.why, line.uri


def _print_addresses(run: DemoRun) -> None:
    named = ("MONGODB_CONNECTION_STRING", "MONGODB_NAME", "REDIS_URL", "PDS_URL")
    rows = [(name, run.environment[name]) for name in named]
    rows.append(("data and logs", str(run.folder)))
    if flower := run.flower:
        rows.append(("Flower", f"{flower.url}/tasks"))
        rows.append(("status page", run.page or ""))
        rows.append(("for both", f"user {flower.user}, password {flower.password}"))
    print_table(Table(rows, title="Everything still runs; Ctrl-C stops it."))
    echo(f"Try: media-atproto --env-file {run.env_file} show {run.example}")
