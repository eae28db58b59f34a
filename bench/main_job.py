"""The benchmark of the main job: `python -m bench.main_job [--quick] [--json FILE]`.

Starts services of its own and real worker processes, and prints each figure beside what it
cannot be better than. Takes about four minutes; `--quick` only shows that it works.
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
    from bench.report import as_json, print_report
    from bench.run import run
    from bench.scale import FULL, QUICK

    machine, sections = run(QUICK if options.quick else FULL)
    print_report(sys.stdout, machine, sections)
    if options.json:
        options.json.write_text(json.dumps(as_json(machine, sections), indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.main_job", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: does it work at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


if __name__ == "__main__":
    main()
