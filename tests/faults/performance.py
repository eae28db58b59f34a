"""One fault from its first save to the verdict."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults.fleet import Manning
from tests.faults.judge import Verdict
from tests.faults.stage import Stage, now
from tests.faults.stream import Load
from tests.terminal import run
from tests.waiting import wait_for

_WARM_UP = 120.0
_RECOVERY = 180.0
_FEW_SETTLED, _MANY_IN_FLIGHT = 10, 20


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: what is done, and how the service is healed; `strike` does both.

    It raises AssertionError when the fault was not felt. With `proxied` the fleet's calls go
    through a proxy; `skews` are the seconds by which its clocks are off; with `loses` no save's
    message arrives.
    """

    name: str
    what: str
    strike: Callable[[Stage], None]
    proxied: bool = False
    skews: tuple[float, float] = (0.0, 0.0)
    loses: bool = False

    def manning(self, stage: Stage) -> Manning:
        """Return how the fleet is run that this fault strikes."""
        url = stage.proxy.url if self.proxied else stage.stack.pds.url
        return Manning(url, self.skews)


@dataclass(frozen=True, slots=True)
class Result:
    """How a fault went; `seconds` to recovery are None when it has not come.

    `trouble` says what else went wrong: the fault was not felt, a worker ended by itself.
    """

    fault: str
    in_flight: int = 0
    items: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    audit: str = ""
    seconds: float | None = None
    trouble: tuple[str, ...] = ()

    @property
    def complaints(self) -> list[str]:
        """Return all that is not as it should be, a line each."""
        audit = [f"audit: {self.audit}"] if self.audit else []
        return [*self.verdict.complaints, *audit, *self.trouble]


def perform(stage: Stage, fault: Fault, load: Load) -> Result:
    """Let a fault strike in the middle of a stream, and judge what has become of its items."""
    stage.man(fault.manning(stage))
    stage.start_stream(load, loses=fault.loses)
    trouble, in_flight = _strike(stage, fault)
    healed = now()
    stage.stream.finish()
    verdict, seconds = _recovered(stage, max(healed, stage.stream.ended))
    deserters = [f"a worker ended by itself: {log}" for log in stage.fleet.deserters()]
    result = Result(
        fault=fault.name,
        in_flight=in_flight,
        items=len(stage.items),
        verdict=verdict,
        audit=_audit(stage),
        seconds=seconds,
        trouble=(*trouble, *deserters),
    )
    if result.complaints:
        stage.clear()
    return result


def _strike(stage: Stage, fault: Fault) -> tuple[list[str], int]:
    """Strike, and return what kept the fault from being felt, and what it struck."""
    in_flight = 0
    try:
        in_flight = wait_for(
            lambda: _piled_up(stage), within=_WARM_UP, what="work to pile up", every=0.1
        )
        stage.stream.go_on()
        fault.strike(stage)
    except AssertionError as error:
        return [f"not injected: {error}"], in_flight
    finally:
        stage.heal()
        stage.stream.go_on()
    return [], in_flight


def _piled_up(stage: Stage) -> int:
    """Return how many items are in flight, if many are and some are right: the fleet is at work."""
    in_flight = stage.in_flight()
    settled = len(stage.items) - in_flight
    return in_flight if in_flight >= _MANY_IN_FLIGHT and settled >= _FEW_SETTLED else 0


def _recovered(stage: Stage, since: float) -> tuple[Verdict, float | None]:
    """Wait until all is right; return the last verdict, and after how many seconds it was so."""
    deadline = now() + _RECOVERY
    while True:
        with suppress(AssertionError):
            wait_for(
                lambda: not stage.judge.unsettled(stage.items) and not stage.judge.waiting(),
                within=max(deadline - now(), 0),
                what="all to be settled",
                every=0.2,
            )
        settled = now()
        verdict = stage.judge.verdict(stage.items)
        if not verdict.complaints:
            return verdict, settled - since
        if now() > deadline:
            return verdict, None


def _audit(stage: Stage) -> str:
    """Run the audit as an operator does; return what it says unless it is clean."""
    code, output, error = run(["audit"], stage.environ)
    return "" if code == 0 else f"exit code {code}\n{output}{error}"
