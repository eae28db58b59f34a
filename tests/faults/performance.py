"""One fault from its first save to the verdict."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic

import httpx
import psutil
import redis
from pymongo.errors import PyMongoError

from tests.faults.judge import Classification
from tests.faults.repair import repair_truncated_blobs
from tests.faults.stage import Stage
from tests.faults.stream import Load
from tests.waiting import wait_for
from worker.core.errors import MediaError

_RECOVERY = 600.0  # seconds; a machine with a load of 30 needed 200
_SETTLED = 60.0  # seconds that something may still be wrong after every document says it is right

# What may go wrong while a fault is performed, and is reported for this fault alone. All else is a
# defect of the suite.
_FAILURES = (
    AssertionError,
    MediaError,
    OSError,
    PyMongoError,
    httpx.HTTPError,
    psutil.Error,
    redis.RedisError,
    subprocess.SubprocessError,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: what is done, and how the service is healed; `strike` does both.

    It raises AssertionError when the fault took no effect. With `proxied` the fleet's calls go
    through a proxy; with `resolved` it looks accounts up in a directory, through another one;
    `skews` are the seconds by which its clocks are off; `mongodb` are options that the URL of its
    MongoDB has; with `loses` no save's message arrives. After one that `kills_pds`, truncated blobs
    are repaired as an operator does.
    """

    name: str
    what: str
    strike: Callable[[Stage], None]
    proxied: bool = False
    resolved: bool = False
    skews: tuple[float, float] = (0.0, 0.0)
    mongodb: str = ""
    loses: bool = False
    kills_pds: bool = False


@dataclass(slots=True)
class Result:
    """How a fault went; `seconds` to recovery are None when it has not come.

    Without `injected` the fault took no effect. `verdict` and `audit` are None when the items
    could not be judged. `repaired` counts blobs that a killed PDS had truncated. `trouble` lists
    what else went wrong, and why.
    """

    fault: str
    injected: bool = False
    in_flight: int = 0
    items: int = 0
    verdict: Classification | None = None
    audit: str | None = None
    seconds: float | None = None
    repaired: int = 0
    trouble: list[str] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        """Return all that is not as it should be, a line each."""
        judged = self.verdict.complaints if self.verdict else ["the items were not judged"]
        audit = [f"audit: {self.audit}"] if self.audit else []
        return [*self.trouble, *judged, *audit]

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Add to the trouble what goes wrong in the block, which ends there."""
        try:
            yield
        except _FAILURES as error:
            self.note(what, error)

    def note(self, what: str, error: BaseException) -> None:
        """Add an error to the trouble."""
        self.trouble.append(f"{what}: {type(error).__name__}: {error}")


def perform(stage: Stage, fault: Fault, load: Load) -> Result:
    """Let a fault strike in the middle of a stream, and judge what has become of its items."""
    result = Result(fault.name)
    with result.noting("not performed"):
        stage.man(
            proxied=fault.proxied,
            resolved=fault.resolved,
            skews=fault.skews,
            mongodb=fault.mongodb,
        )
        _strike(stage, fault, load, result)
        _judge(stage, fault, result)
    if result.complaints:
        with result.noting("not cleared"):
            stage.clear()
    return result


def _strike(stage: Stage, fault: Fault, load: Load, result: Result) -> None:
    """Strike under the stream, then heal."""
    with (
        stage.streaming(load, loses=fault.loses) as stream,
        result.noting("not injected"),
    ):
        result.in_flight = stage.pile_up()
        fault.strike(stage)
        result.injected = True
    if failure := stream.finish():
        result.note("the stream failed", failure)


def _judge(stage: Stage, fault: Fault, result: Result) -> None:
    """Wait until all is right, and note the last verdict, and when it was so."""
    deadline = monotonic() + _RECOVERY
    while result.seconds is None and monotonic() <= deadline:
        with suppress(AssertionError):
            wait_for(
                lambda: not stage.judge.unsettled(stage.items) and not stage.judge.waiting(),
                within=max(deadline - monotonic(), 0),
                what="all to be settled",
                every=0.2,
            )
        settled = monotonic()
        result.verdict = stage.judge.verdict(stage.items)
        if not result.verdict.complaints:
            result.seconds = settled - stage.stream.ended
        else:
            deadline = min(deadline, settled + _SETTLED)
            result.repaired += repair_truncated_blobs(stage.environ) if fault.kills_pds else 0
    result.items = len(stage.items)
    result.trouble += [f"a worker ended by itself: {log}" for log in stage.fleet.deserters()]
    result.audit = stage.audit()
