"""The operator's commands as processes of their own: how long they take, and what they use."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psutil

from bench.figures import Figure
from bench.place import Place
from bench.processes import Worker
from bench.queues import cpu_seconds
from worker.dev.stack import StackError
from worker.dev.stack.service import log_tail

_MEDIA_ATPROTO = str(Path(sys.executable).with_name("media-atproto"))
_EVERY = 0.5  # seconds; ten times as many looks would take 3% of two cores from what is measured
_SOON = 0.005


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended.

    `peaks` is the most memory (RSS, MiB) that the command, the parents of the watched workers
    and the largest of their children ever had; `cpu` the seconds that the servers, the command
    and these workers used.
    """

    began: datetime
    seconds: float
    peaks: Mapping[str, float]
    cpu: Mapping[str, float]

    def cpu_figures(self, documents: int) -> list[Figure]:
        """Return the CPU time of a document by process, beside that of all."""
        total = sum(self.cpu.values()) / documents * 1000
        return [
            Figure(f"CPU: {name}", used / documents * 1000, "ms each", "all processes", total)
            for name, used in self.cpu.items()
        ]


def run(place: Place, *arguments: str, watched: Sequence[Worker] = ()) -> Done:
    """Run `media-atproto` with arguments; raises StackError when it does not end with 0."""
    before = _used(place, watched)
    began, start = datetime.now(UTC), time.perf_counter()
    process, log = place.processes.start("command", _MEDIA_ATPROTO, *arguments)
    peaks: dict[str, float] = {}
    own = 0.0
    while process.poll() is None:
        own = max(own, _used_by(process.pid))
        _note(peaks, "command", [process.pid])
        for worker in watched:
            _note(peaks, "worker, parent", [worker.popen.pid])
            _note(peaks, "worker, largest child", [child.pid for child in worker.children()])
        with suppress(subprocess.TimeoutExpired):
            process.wait(_EVERY)
    seconds = time.perf_counter() - start
    if process.returncode:
        what = f"media-atproto {' '.join(arguments)} ended with code {process.returncode}"
        raise StackError(f"{what}.\n{log_tail(log)}")
    after = _used(place, watched)
    used = {name: after[name] - before[name] for name in after}
    return Done(began, seconds, peaks, {**used, "command": own})


def startup_seconds(place: Place, times: int) -> float:
    """Return how long a backfill that has nothing to do takes until it says so.

    That is the start of Python, imports and connections: what it does before it does anything.
    """
    (nobody,) = place.recruit("startup", 1)
    return median(_first_word(place, "backfill", "--user", nobody.handle) for _ in range(times))


def _first_word(place: Place, *arguments: str) -> float:
    start = time.perf_counter()
    process, log = place.processes.start("command", _MEDIA_ATPROTO, *arguments)
    while process.poll() is None and not log.stat().st_size:
        time.sleep(_SOON)
    seconds = time.perf_counter() - start
    process.wait()
    return seconds


def _used(place: Place, watched: Sequence[Worker]) -> dict[str, float]:
    """Return the CPU seconds that servers and workers have used so far."""
    used = {name: cpu_seconds([process]) for name, process in place.servers().items()}
    for worker in watched:
        used["worker, parent"] = cpu_seconds([worker.parent()])
        used["worker, pool"] = cpu_seconds(worker.children())
    return used


def _used_by(process: int) -> float:
    with suppress(psutil.NoSuchProcess):
        return cpu_seconds([psutil.Process(process)])
    return 0.0


def _note(peaks: dict[str, float], name: str, processes: Iterable[int]) -> None:
    for process in processes:
        peaks[name] = max(peaks.get(name, 0.0), _peak(process))


def _peak(process: int) -> float:
    """Return the most memory that a process has ever had, in MiB; 0 when it is gone.

    `VmHWM` counts from the exec: what the process was forked from does not matter.
    https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.removesuffix("kB")) / 1024
    return 0.0
