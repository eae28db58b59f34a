"""Backfill 2,500 items to a rate-limited PDS: `python -m bench.rate_limits [--quick]`.

Runs the same backfill three times, with the same workers, on new services each time:

- limits whose windows do not end during the run: items beyond them wait and use no attempt;
- limits with short windows: all items are published;
- the latter without budgets, the baseline: counts what the PDS refuses then.

Refusals are counted in the log of the PDS. Exits with 1 if a run with budgets had a write refused
or did not end as expected. Takes about eight minutes; `--quick` only shows that it works.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bench.bulk import terminal
from bench.bulk.crew import bulk_worker, live_worker
from bench.bulk.documents import Archive, insert
from bench.place import BULK_NICENESS, Place, open_place
from bench.processes import await_true
from worker.core.documents import SyncState
from worker.database.state import parse_state
from worker.dev.demo.pictures import creature, png
from worker.media import MEDIA_TYPES

_AUTHORS = 3
_WRITES = ("putRecord", "applyWrites", "deleteRecord", "uploadBlob", "createSession")
_TIMES = {"SWEEP_INTERVAL_SECONDS": "5", "RETRY_BASE_SECONDS": "1", "RETRY_CEILING_SECONDS": "5"}
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The same limits for the PDS and for the workers, in the format of each."""

    pds: Mapping[str, str]
    workers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of items, limits with long and with short windows, and the workers' intervals."""

    moods: int
    paintings: int
    long: Limits
    short: Limits
    times: Mapping[str, str]
    bulk_niceness: int = BULK_NICENESS

    @property
    def items(self) -> int:
        """The number of all items."""
        return self.moods + self.paintings


def _limits(pds: str, workers: str) -> Limits:
    return Limits({"STACK_RATE_LIMITS": pds}, {"RATE_LIMITS": workers})


FULL = Scale(
    moods=1300,
    paintings=1200,
    long=Limits({}, {}),  # those of the reference PDS
    short=_limits(
        "5000/3600=5000/40 35000/86400=35000/90 1000/86400=1000/45 3000/300=3000/20",
        "* points_hour=5000/40 points_day=35000/90 uploads_day=1000/45 requests_5min=3000/20",
    ),
    times=_TIMES,
)
QUICK = Scale(
    moods=24,
    paintings=12,
    long=_limits("1000/86400=8/86400", "* uploads_day=8"),
    # The workers' window is longer: with so short ones, an end a moment too early would count.
    short=_limits("1000/86400=8/6", "* uploads_day=8/7"),
    times={**_TIMES, "SWEEP_INTERVAL_SECONDS": "1", "RETRY_CEILING_SECONDS": "1"},
    bulk_niceness=0,
)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run is called, what the PDS and the workers are told, and whether all must end."""

    name: str
    pds: Mapping[str, str]
    settings: Mapping[str, str]
    completes: bool
    has_budgets: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the items, and what the PDS refused, by method."""

    run: Run
    statuses: Counter[str]
    tried_in_vain: int
    refused: Counter[str]
    seconds: float

    @property
    def refused_writes(self) -> int:
        """How many writes, uploads and logins the PDS answered with 429."""
        return sum(n for method, n in self.refused.items() if method in _WRITES)

    @property
    def is_good(self) -> bool:
        """Tell whether it went as it should."""
        if not self.run.has_budgets:
            return True
        ended = set(self.statuses) <= ({"synced"} if self.run.completes else {"synced", "waits"})
        return ended and not self.refused_writes and not self.tried_in_vain


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.rate_limits", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few items: does it work at all?")
    scale = QUICK if parser.parse_args(arguments).quick else FULL
    results = []
    for run in _runs(scale):
        results.append(_measured(run, scale))
        print(_line(results[-1], scale), flush=True)
    return 0 if all(result.is_good for result in results) else 1


def _runs(scale: Scale) -> Sequence[Run]:
    long, short, off = scale.long, scale.short, {"RATE_LIMITS": "off"}
    return (
        Run("long windows", long.pds, long.workers, completes=False),
        Run("short windows", short.pds, short.workers, completes=True),
        Run("short windows, no budgets", short.pds, off, completes=True, has_budgets=False),
    )


def _measured(run: Run, scale: Scale) -> Result:
    limited = {**run.pds, "PDS_RATE_LIMITS_ENABLED": "1", "LOG_LEVEL": "info"}
    settings = {**scale.times, **run.settings}
    with ExitStack() as undo:
        place = undo.enter_context(
            open_place(
                _AUTHORS,
                pds_environment=limited,
                settings=settings,
                bulk_niceness=scale.bulk_niceness,
            )
        )
        schedule = undo.enter_context(tempfile.TemporaryDirectory()) + "/schedule"
        _save(place, scale)
        undo.enter_context(live_worker(place))
        undo.enter_context(bulk_worker(place))
        started = time.monotonic()
        celery = (sys.executable, "-W", "ignore", "-m", "celery", "-A", "worker.app")
        place.processes.start("beat", *celery, "beat", "--schedule", schedule)
        terminal.run(place, "backfill")
        await_true(lambda: _is_over(place, run), _PATIENCE, f"the run with {run.name}")
        seconds = time.monotonic() - started
        states = _states(place)
        in_vain = sum(state.attempts for state in states if _ending(state) == "waits")
        statuses = Counter(_ending(state) for state in states)
        return Result(run, statuses, in_vain, _refused(place.stack.pds.log), seconds)


def _save(place: Place, scale: Scale) -> None:
    """Save moods, and paintings that are small, so that the limits are what takes time."""
    archive, authors = Archive(), place.authors
    paintings = archive.paintings(authors, scale.paintings)
    for number, document in enumerate(paintings):
        image = creature(number).resize((64, 64), Image.Resampling.NEAREST)
        place.platform.store(f"{document.raw['slug']}.png", png(image), document.author.subject)
    insert(place, archive.moods(authors, scale.moods))
    insert(place, iter(paintings))


def _states(place: Place) -> list[SyncState]:
    found = (place.services.database[kind.collection].find({}) for kind in MEDIA_TYPES.values())
    return [parse_state(raw.get("atproto")) for each in found for raw in each]


def _ending(state: SyncState) -> str:
    """Return how an item stands: its status, or that it waits for a budget."""
    if state.error and state.error.code == "budget_spent":
        return "waits"
    return str(state.status or "new")


def _is_over(place: Place, run: Run) -> bool:
    time.sleep(0.5)  # a look at 2,500 documents is no small thing beside what is measured
    endings = {_ending(state) for state in _states(place)}
    if run.completes:
        return endings == {"synced"}
    waiting = sum(int(place.queue.llen(name)) for name in ("live", "sweep", "bulk"))
    return endings == {"synced", "waits"} and not waiting


def _refused(log: Path) -> Counter[str]:
    """Return how many calls of each method the PDS answered with 429, by its own log."""
    refused: Counter[str] = Counter()
    with log.open() as lines:
        for line in lines:
            if '"statusCode":429' in line:
                refused[line.partition("/xrpc/")[2].partition('"')[0].split("?")[0]] += 1
    return Counter({name.rpartition(".")[2]: n for name, n in refused.items()})


def _line(result: Result, scale: Scale) -> str:
    endings = ", ".join(f"{number} {name}" for name, number in sorted(result.statuses.items()))
    refused = ", ".join(f"{name} {n}" for name, n in sorted(result.refused.items())) or "none"
    return (
        f"{result.run.name}: {endings} of {scale.items} items in {result.seconds:.0f} s; "
        f"attempts of those that wait {result.tried_in_vain}; "
        f"refused writes {result.refused_writes}; 429s by method: {refused}"
    )


if __name__ == "__main__":
    sys.exit(main())
