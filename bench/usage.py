"""What processes use: CPU time and memory, of servers, workers and commands."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psutil

from bench.figures import Figure
from bench.harness import Harness
from bench.processes import MEDIA_ATPROTO, Process
from worker.dev.stack import StackError
from worker.dev.stack.service import log_tail

_INTERVAL = 0.5  # seconds; sampling ten times as often takes 3% of two cores
_FIRST_OUTPUT = 0.005


def cpu_seconds(harness: Harness, worker: Process | None = None) -> dict[str, float]:
    """Return the CPU time that the servers and a worker have used so far, by name."""
    used = {server.name: _cpu([psutil.Process(server.pid)]) for server in harness.servers}
    if worker:
        used["worker, parent"] = _cpu([worker.parent()])
        used["worker, pool"] = _cpu(worker.children())
    return used


def calling_cpu_seconds(harness: Harness, call: Callable[[], object]) -> float:
    """Return the CPU time that the PDS and this process use during a call."""
    pds = [psutil.Process(harness.stack.pds.pid)]
    before = _cpu(pds) + time.process_time()
    call()
    return _cpu(pds) + time.process_time() - before


def difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """Return by how much each value has grown."""
    return {name: value - before[name] for name, value in after.items()}


def cpu_figures(label: str, used: Mapping[str, float], items: int) -> list[Figure]:
    """Return the CPU time for an item by process, compared with that of all processes."""
    total = sum(used.values()) / items * 1000
    return [
        Figure(f"{label}: {name}", value / items * 1000, "ms each", "all processes", total)
        for name, value in used.items()
    ]


def peak_memory(process: psutil.Process) -> float:
    """Return the largest resident memory that a process has had, in MiB; 0 if it has ended.

    `VmHWM` counts from the exec, unlike `ru_maxrss`, which includes the process it was forked from.
    https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.removesuffix("kB")) / 1024
    return 0.0


@dataclass(frozen=True, slots=True)
class CommandRun:
    """A command that has ended: its start, the CPU time of all processes, and peaks of memory."""

    began: datetime
    cpu: Mapping[str, float]
    peaks: Mapping[str, float]


def run_command(harness: Harness, *arguments: str, worker: Process | None = None) -> CommandRun:
    """Run `media-atproto` with arguments; raises StackError if it fails."""
    before, own = cpu_seconds(harness, worker), _cpu_of_ended_children()
    began = datetime.now(UTC)
    command = harness.processes.start("command", MEDIA_ATPROTO, *arguments)
    own_process, peaks = command.parent(), dict[str, float]()
    while command.popen.poll() is None:
        for name, value in _peaks(own_process, worker).items():
            peaks[name] = max(value, peaks.get(name, 0.0))
        with suppress(subprocess.TimeoutExpired):
            command.popen.wait(_INTERVAL)
    if code := command.popen.returncode:
        text = f"media-atproto {' '.join(arguments)} ended with code {code}"
        raise StackError(f"{text}.\n{log_tail(command.log)}")
    used = difference(cpu_seconds(harness, worker), before)
    return CommandRun(began, used | {"command": _cpu_of_ended_children() - own}, peaks)


def startup_seconds(harness: Harness, times: int) -> float:
    """Return how long a backfill without documents takes until its first output.

    That is the start of Python, the imports and the connections.
    """
    (author,) = harness.create_authors(1)
    return median(_first_output(harness, author.handle) for _ in range(times))


def _first_output(harness: Harness, handle: str) -> float:
    start = time.perf_counter()
    command = harness.processes.start("command", MEDIA_ATPROTO, "backfill", "--user", handle)
    while command.popen.poll() is None and not command.log.stat().st_size:
        time.sleep(_FIRST_OUTPUT)
    seconds = time.perf_counter() - start
    command.popen.wait()
    return seconds


def _peaks(command: psutil.Process, worker: Process | None) -> dict[str, float]:
    """Return the peak memory of a command, of a worker's parent and of its largest child."""
    peaks = {"command": peak_memory(command)}
    if worker:
        peaks["worker, parent"] = peak_memory(worker.parent())
        peaks["worker, largest child"] = max(map(peak_memory, worker.children()), default=0.0)
    return peaks


def _cpu(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _cpu_of_ended_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
