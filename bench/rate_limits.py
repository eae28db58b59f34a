"""Backfill 2,500 items to a PDS with rate limits. Eight minutes.

Runs the same backfill three times, with the same workers, on new services each time:

- without budgets, the baseline: counts the calls that the PDS refuses then;
- with budgets, and limits whose windows do not end: items beyond them wait and use no attempt;
- with budgets and short windows: all items are published.

Refused calls are counted in the log of the PDS. A refused write in a run with budgets is a problem.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.documents import Archive, insert
from bench.figures import Figure, Section
from bench.harness import Harness, open_harness
from bench.pictures import pixel_art, variations
from bench.processes import CELERY, wait_until
from bench.report import Report
from bench.usage import run_command
from worker.core.documents import SyncState
from worker.database.state import parse_state

_AUTHORS = 3
_WRITES = ("putRecord", "applyWrites", "deleteRecord", "uploadBlob", "createSession")
_WAITING = "waiting"  # for a budget
_ATTEMPTS = "attempts of waiting items"
_REFUSED, _OTHERS = "refused writes", "other refused calls"


@dataclass(frozen=True, slots=True)
class Run:
    """Limits of the PDS and of the workers, each in its format; empty means the reference's.

    The run is over when its items have these endings.
    """

    name: str
    pds: str
    workers: str
    endings: frozenset[str] = frozenset({"synced"})


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of items, the runs, and the seconds between two sweeps."""

    moods: int
    paintings: int
    runs: Sequence[Run]
    interval: int


_SHORT = "5000/3600=5000/40 35000/86400=35000/90 1000/86400=1000/45 3000/300=3000/20"
_BUDGETS = "* points_hour=5000/40 points_day=35000/90 uploads_day=1000/45 requests_5min=3000/20"
_SOME_WAIT = frozenset({"synced", _WAITING})
FULL = Scale(
    moods=1300,
    paintings=1200,
    runs=(
        Run("no budgets", _SHORT, "off"),
        Run("long windows", "", "", _SOME_WAIT),
        Run("short windows", _SHORT, _BUDGETS),
    ),
    interval=5,
)
QUICK = Scale(
    moods=24,
    paintings=12,
    runs=(
        Run("no budgets", "1000/86400=8/6", "off"),
        Run("long windows", "1000/86400=8/86400", "* uploads_day=8", _SOME_WAIT),
        # The workers' window is longer: an end a moment too early would be refused.
        Run("short windows", "1000/86400=8/6", "* uploads_day=8/7"),
    ),
    interval=1,
)


def measure(report: Report, *, quick: bool) -> None:
    """Measure the baseline, and the two runs with budgets."""
    scale = QUICK if quick else FULL
    baseline: Counter[str] = Counter()
    for run in scale.runs:
        counts = _backfill(report, scale, run, quick=quick)
        baseline = baseline or counts
        report.add(_section(scale, run, counts, baseline))


def _backfill(report: Report, scale: Scale, run: Run, *, quick: bool) -> Counter[str]:
    """Return the numbers of items by ending, of attempts in vain, and of refused calls."""
    pds = {"STACK_RATE_LIMITS": run.pds, "PDS_RATE_LIMITS_ENABLED": "1", "LOG_LEVEL": "info"}
    settings = {
        **({"RATE_LIMITS": run.workers} if run.workers else {}),
        "SWEEP_INTERVAL_SECONDS": str(scale.interval),
        "RETRY_BASE_SECONDS": "1",
        "RETRY_CEILING_SECONDS": str(scale.interval),
    }
    with (
        open_harness(report, quick=quick, pds_environment=pds, settings=settings) as harness,
        harness.live_worker(),
        harness.bulk_worker(),
    ):
        _insert(harness, scale)
        harness.processes.start("beat", *CELERY, "worker.app", "beat")
        run_command(harness, "backfill")
        # Reading all documents takes long enough to slow down the workers.
        wait_until(lambda: _is_over(harness, run), f"the run with {run.name}", every=0.5)
        states = _states(harness)
        counts = Counter(map(_ending, states)) + _refused_calls(harness.stack.pds.log)
        counts[_ATTEMPTS] = sum(each.attempts for each in states if _ending(each) == _WAITING)
        return counts


def _insert(harness: Harness, scale: Scale) -> None:
    """Save moods, and paintings that are small, so that only the limits take time."""
    archive, authors = Archive(), harness.create_authors(_AUTHORS)
    pictures = variations([pixel_art(1, (64, 64))])
    insert(harness, archive.texts(authors, scale.moods))
    insert(harness, archive.paintings(authors, islice(pictures, scale.paintings)))


def _states(harness: Harness) -> list[SyncState]:
    states = [state for name in ("mood", "painting") for state in harness.states(name, {})]
    return [parse_state(state) for state in states]


def _ending(state: SyncState) -> str:
    """Return the status of an item, or that it waits for a budget."""
    if state.error and state.error.code == "budget_spent":
        return _WAITING
    return str(state.status or "new")


def _is_over(harness: Harness, run: Run) -> bool:
    endings = {_ending(state) for state in _states(harness)}
    return endings == run.endings and not harness.waiting_messages()


def _refused_calls(log: Path) -> Counter[str]:
    """Count the writes and other calls that the PDS answered with 429, according to its log."""
    with log.open() as lines:
        refused = [line for line in lines if '"statusCode":429' in line]
    methods = (re.split('["?]', line.partition("/xrpc/")[2])[0] for line in refused)
    return Counter(_REFUSED if name.endswith(_WRITES) else _OTHERS for name in methods)


def _section(scale: Scale, run: Run, counts: Counter[str], baseline: Counter[str]) -> Section:
    items = scale.moods + scale.paintings
    found = [name for name in (_REFUSED, _ATTEMPTS) if counts[name] and run.workers != "off"]
    return Section(
        run.name,
        f"Backfill with rate limits: {run.name}",
        f"{scale.moods} moods and {scale.paintings} paintings of {_AUTHORS} accounts; PDS: "
        f"{run.pds or 'the reference'}; workers: {run.workers or 'the reference'}.",
        (
            *(Figure(name, counts[name], "items", "all", items) for name in ("synced", _WAITING)),
            Figure(_ATTEMPTS, counts[_ATTEMPTS], "attempts"),
            *(
                Figure(name, counts[name], "calls", "no budgets", baseline[name])
                for name in (_REFUSED, _OTHERS)
            ),
        ),
        problems=[f"{run.name}: {counts[name]} {name}" for name in found],
    )
