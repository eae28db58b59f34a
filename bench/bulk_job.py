"""The benchmark of bulk work: `python -m bench.bulk_job [--quick] [--json FILE]`.

Starts services of its own and real worker processes, runs the operator's commands, and prints
each figure beside its ceiling, the old way and its target. A missed target is printed as such and
is no error: the exit code says only whether everything could be measured. Takes about ten
minutes; `--quick` only shows that it works.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    # Imported here, because bare processes import this module again and are to stay bare.
    from bench.bulk.run import run
    from bench.bulk.scale import FULL, QUICK
    from bench.bulk.summary import all_as_json, print_all

    machine, measured = run(QUICK if options.quick else FULL)
    print_all(sys.stdout, machine, measured)
    if options.json:
        options.json.write_text(json.dumps(all_as_json(machine, measured), indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.bulk_job", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: does it work at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


if __name__ == "__main__":
    main()
