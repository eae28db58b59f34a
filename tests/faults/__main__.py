"""The fault suite: `python -m tests.faults [--only NAME | --quick] [--list] [--keep DIR]`.

Starts services and workers of its own, breaks them one way after the other under a stream of
saves, and prints what became of the items. Exit code 1 when anything is lost, doubled, wrong or
stuck, or when a fault took no effect.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from time import monotonic
from types import FrameType

from tests.faults.performance import Fault, Result, perform
from tests.faults.report import print_complaints, print_table
from tests.faults.stage import Stage, open_stage
from tests.faults.stream import Load
from tests.faults.table import FAULTS
from worker.dev.stack import Stack
from worker.dev.stack.environment import unset_variables

_QUICK = ("pds-killed", "two-sweeps")
_PREFIX = "media-atproto-faults-"
_LITTLE = Load(burst=40, steady=20)


def main(arguments: Sequence[str] | None = None) -> int:
    """Perform the faults that are asked for; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.list:
        sys.stdout.writelines(f"{_slug(fault)}: {fault.what}\n" for fault in FAULTS)
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    names = _QUICK if options.quick else options.only
    chosen = [fault for fault in FAULTS if not names or _slug(fault) in names]
    load = _LITTLE if options.quick else Load()
    folder: AbstractContextManager[Path | str] = (
        nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory(prefix=_PREFIX)
    )
    with folder as kept, _stage(Path(kept)) as stage:
        return perform_all(chosen, lambda fault: perform(stage, fault, load))


def perform_all(faults: Sequence[Fault], perform_one: Callable[[Fault], Result]) -> int:
    """Perform faults one after the other, and print a table; return the exit code.

    The table is printed even if this ends early.
    """
    start = monotonic()
    results: list[Result] = []
    try:
        results.extend(_performed(fault, perform_one) for fault in faults)
    finally:
        print_table(sys.stdout, results)
        sys.stdout.write(f"{len(results)} faults in {monotonic() - start:.0f} seconds\n")
        sys.stdout.flush()
    return 1 if any(result.complaints for result in results) else 0


def _performed(fault: Fault, perform_one: Callable[[Fault], Result]) -> Result:
    start = monotonic()
    result = perform_one(fault)
    verdict = "WRONG" if result.complaints else "right"
    sys.stderr.write(f"{fault.name}: {verdict} ({monotonic() - start:.0f} s)\n")
    print_complaints(sys.stderr, result)
    return result


@contextmanager
def _stage(folder: Path) -> Iterator[Stage]:
    fleets = folder / "fleets"
    fleets.mkdir(parents=True)
    with (
        Stack.start(folder / "stack", unset_variables(os.environ)) as stack,
        open_stage(stack, fleets) as stage,
    ):
        yield stage


def _slug(fault: Fault) -> str:
    return re.sub(r"[^a-z0-9]+", "-", fault.name.lower())


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit("ended before all faults were performed")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = [_slug(fault) for fault in FAULTS]
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--only", action="append", choices=names, metavar="NAME", help="this one")
    some.add_argument("--quick", action="store_true", help="two of them, with little to save")
    parser.add_argument("--list", action="store_true", help="name all faults and end")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave all logs in a new folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
