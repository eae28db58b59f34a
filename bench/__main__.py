"""Run a benchmark: `python -m bench NAME [--quick] [--json FILE]`.

A benchmark starts its own services and workers, and prints a table for each section as soon as
it is measured. A missed target does not change the exit code; a problem that a section reports
does. `--quick` measures so little that it only shows that the benchmark works.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from bench import (
    bulk_job,
    image_memory,
    main_job,
    overload,
    peer_rates,
    rate_limits,
    status_page,
)
from bench.report import Report


class _Measure(Protocol):
    def __call__(self, report: Report, *, quick: bool) -> None: ...


_BENCHMARKS: Mapping[str, _Measure] = {
    "main_job": main_job.measure,
    "bulk_job": bulk_job.measure,
    "peer_rates": peer_rates.measure,
    "rate_limits": rate_limits.measure,
    "overload": overload.measure,
    "image_memory": image_memory.measure,
    "status_page": status_page.measure,
}


def main() -> int:
    """Run the benchmark that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=_BENCHMARKS)
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    logging.disable()  # messages that the queue does not take while Redis is stopped
    report = Report(sys.stdout)
    _BENCHMARKS[options.name](report, quick=options.quick)
    report.print_targets()
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 1 if report.print_problems() else 0


if __name__ == "__main__":
    sys.exit(main())
