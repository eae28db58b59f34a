"""What `import tasks` costs an upload function, beside what Celery costs whoever uses it."""

from __future__ import annotations

from statistics import median

from bench.figures import Figure, Section
from bench.place import Place
from bench.scale import Scale

_OURS = "import tasks"
_BARE = "from celery import Celery, Task; import kombu.transport.redis"
_SCRIPT = """
import os, time
def now():
    with open("/proc/self/statm") as pages:
        return time.process_time(), int(pages.read().split()[1]) * os.sysconf("SC_PAGESIZE")
before = now()
{statement}
after = now()
print([(after[0] - before[0]) * 1000, (after[1] - before[1]) / 2**20])
"""


def measure_imports(place: Place, scale: Scale) -> Section:
    """Import in fresh processes, ours and the baseline in turn, the first of each not counted."""
    ours, bare = [], []
    for _ in range(scale.imports + 1):
        ours.append(place.processes.evaluate(_SCRIPT.format(statement=_OURS)))
        bare.append(place.processes.evaluate(_SCRIPT.format(statement=_BARE)))
    (cpu, memory), (bare_cpu, bare_memory) = _medians(ours), _medians(bare)
    beside = "Celery and its Redis transport alone"
    return Section(
        "import",
        "import tasks",
        f"Median of {scale.imports} fresh processes each, in turn; bytecode is cached.",
        (
            Figure("CPU time", cpu, "ms", beside, bare_cpu),
            Figure("RSS added", memory, "MiB", beside, bare_memory),
        ),
    )


def _medians(samples: list[tuple[float, float]]) -> tuple[float, float]:
    cpu, memory = zip(*samples[1:], strict=True)
    return median(cpu), median(memory)
