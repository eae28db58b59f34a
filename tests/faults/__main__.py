"""The fault suite: `python -m tests.faults [--only NAME] [--list] [--keep DIR]`.

Starts services and workers of its own, breaks them one way after the other under a stream of
saves, and prints what became of the items. Exit code 1 when anything is lost, doubled, wrong or
stuck, or when a fault was not felt.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tests.faults.performance import Fault, Result, perform
from tests.faults.report import print_complaints, print_table
from tests.faults.stage import now, open_stage
from tests.faults.stream import Load
from tests.faults.table import FAULTS
from worker.stack import Stack
from worker.stack.environment import unsettled


def main(arguments: Sequence[str] | None = None) -> int:
    """Perform the faults that are asked for; return the exit code."""
    options = _parser().parse_args(arguments)
    chosen = [fault for fault in FAULTS if not options.only or _slug(fault) in options.only]
    if options.list:
        sys.stdout.writelines(f"{_slug(fault)}: {fault.what}\n" for fault in FAULTS)
        return 0
    signal.signal(signal.SIGTERM, _end)
    start = now()
    with _folder(options.keep) as folder:
        results = list(_performed(chosen, folder))
    print_table(sys.stdout, results)
    sys.stdout.write(f"{len(results)} faults in {now() - start:.0f} seconds\n")
    return 1 if any(result.complaints for result in results) else 0


def _performed(faults: Sequence[Fault], folder: Path) -> Iterator[Result]:
    fleets = folder / "fleets"
    fleets.mkdir(parents=True)
    with (
        Stack.start(folder / "stack", unsettled(os.environ)) as stack,
        open_stage(stack, fleets) as stage,
    ):
        for fault in faults:
            start = now()
            result = perform(stage, fault, Load())
            verdict = "WRONG" if result.complaints else "right"
            sys.stderr.write(f"{fault.name}: {verdict} ({now() - start:.0f} s)\n")
            print_complaints(sys.stderr, result)
            yield result


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="media-atproto-faults-") as name:
        yield Path(name)


def _slug(fault: Fault) -> str:
    return re.sub(r"[^a-z0-9]+", "-", fault.name.lower())


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit("ended before all faults were performed")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = [_slug(fault) for fault in FAULTS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="this one")
    parser.add_argument("--list", action="store_true", help="name all faults and end")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave all logs in a new folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
