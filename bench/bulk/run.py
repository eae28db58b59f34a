"""One run of the benchmark of bulk work, on the same services from start to end."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping

from bench.bulk.audit import measure_audit
from bench.bulk.documents import Archive
from bench.bulk.load import measure_load
from bench.bulk.painting import measure_paintings
from bench.bulk.results import Measured
from bench.bulk.scale import Scale
from bench.bulk.terminal import startup_seconds
from bench.bulk.text import measure_text
from bench.machine import machine_of
from bench.place import Place, open_place


def run(scale: Scale) -> tuple[Mapping[str, str], list[Measured]]:
    """Return the machine and all figures; tell on stderr how far it is, and what was found."""
    multiprocessing.set_forkserver_preload(["bench.crowd"])  # bare processes start at once then
    start, measured = time.monotonic(), []
    with open_place(0, bulk_niceness=scale.bulk_niceness) as place:
        # This process is a producer as well, which reads where the queue is from its environment.
        os.environ.update(place.stack.environment)
        machine = machine_of(place)
        for one in _measured(place, scale):
            measured.append(one)
            found = ", ".join(f"{key} {value:.3g}" for key, value in one.ratios.items())
            sys.stderr.write(f"{time.monotonic() - start:5.1f}s {one.section.title}: {found}\n")
    return machine, measured


def _measured(place: Place, scale: Scale) -> Iterator[Measured]:
    archive, startup = Archive(), startup_seconds(place, scale.startups)
    yield measure_text(place, archive, scale.text, startup)
    yield from measure_paintings(place, archive, scale.paintings, startup)
    loaded = measure_load(place, archive, scale)
    yield from loaded.measured
    yield measure_audit(place, loaded.audited, scale.audited, scale.audits)
