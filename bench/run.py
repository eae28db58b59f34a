"""One run: every measurement, one after the other, on the same services."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Mapping

from bench.enqueueing import measure_enqueueing
from bench.figures import Section
from bench.imports import measure_imports
from bench.latency import measure_latency
from bench.machine import machine_of
from bench.memory import measure_memory
from bench.place import Place, open_place
from bench.scale import Scale
from bench.throughput import measure_throughput


def run(scale: Scale) -> tuple[Mapping[str, str], list[Section]]:
    """Return the machine and all figures; tell on stderr how far it is."""
    multiprocessing.set_forkserver_preload(["bench.crowd"])  # bare processes start at once then
    start = time.monotonic()
    with open_place(scale.authors) as place:
        # This process is a producer as well, which reads where the queue is from its environment.
        os.environ.update(place.stack.environment)
        return machine_of(place), _measured(place, scale, start)


def _measured(place: Place, scale: Scale, start: float) -> list[Section]:
    def tell(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - start:5.1f}s {what}\n")

    tell("import")
    imports = measure_imports(place, scale)
    tell("enqueueing")
    enqueueing = measure_enqueueing(place, scale)
    tell("throughput")
    throughput, best = measure_throughput(place, scale)
    tell("latency")
    latency, worked = measure_latency(place, best, scale)
    tell("memory")
    memory = measure_memory(place, best, worked)
    tell("done")
    return [imports, enqueueing, latency, throughput, memory]
