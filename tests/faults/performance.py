"""One fault from its first save to the verdict."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from tests.faults.judge import Verdict
from tests.faults.stage import FAILURES, Stage, now
from tests.faults.stream import Load
from tests.waiting import wait_for

_RECOVERY = 600.0  # seconds; a machine with a load of 30 needed 200


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: what is done, and how the service is healed; `strike` does both.

    It raises AssertionError when the fault took no effect. With `proxied` the fleet's calls go
    through a proxy; `skews` are the seconds by which its clocks are off; with `loses` no save's
    message arrives.
    """

    name: str
    what: str
    strike: Callable[[Stage], None]
    proxied: bool = False
    skews: tuple[float, float] = (0.0, 0.0)
    loses: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """How a fault went; `seconds` to recovery are None when it has not come.

    Without `injected` the fault took no effect. `verdict` and `audit` are None when the items
    could not be judged. `trouble` lists what else went wrong, and why.
    """

    fault: str
    injected: bool = False
    in_flight: int = 0
    items: int = 0
    verdict: Verdict | None = None
    audit: str | None = None
    seconds: float | None = None
    trouble: tuple[str, ...] = ()

    @property
    def complaints(self) -> list[str]:
        """Return all that is not as it should be, a line each."""
        judged = self.verdict.complaints if self.verdict else ["the items were not judged"]
        audit = [f"audit: {self.audit}"] if self.audit else []
        return [*self.trouble, *judged, *audit]


def perform(stage: Stage, fault: Fault, load: Load) -> Result:
    """Let a fault strike in the middle of a stream, and judge what has become of its items."""
    try:
        stage.man(proxied=fault.proxied, skews=fault.skews)
        result = _judged(stage, _struck(stage, fault, load))
    except FAILURES as error:
        result = Result(fault.name, trouble=(_told(error),))
    if not result.complaints:
        return result
    try:
        stage.clear()
    except FAILURES as error:
        result = _with_trouble(result, f"not cleared: {_told(error)}")
    return result


def _struck(stage: Stage, fault: Fault, load: Load) -> Result:
    """Strike under the stream, then heal; return what is known by then."""
    result = Result(fault.name)
    with stage.streaming(load, loses=fault.loses) as stream:
        try:
            result = replace(result, in_flight=stage.pile_up())
            fault.strike(stage)
            result = replace(result, injected=True)
        except FAILURES as error:
            result = _with_trouble(result, f"not injected: {_told(error)}")
    failure = stream.finish()
    return _with_trouble(result, f"the stream failed: {_told(failure)}") if failure else result


def _judged(stage: Stage, result: Result) -> Result:
    """Add what has become of the items."""
    verdict, seconds = _recovered(stage)
    deserters = [f"a worker ended by itself: {log}" for log in stage.fleet.deserters()]
    judged = replace(
        result,
        items=len(stage.items),
        verdict=verdict,
        audit=stage.audit(),
        seconds=seconds,
    )
    return _with_trouble(judged, *deserters)


def _recovered(stage: Stage) -> tuple[Verdict, float | None]:
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
            return verdict, settled - stage.stream.ended
        if now() > deadline:
            return verdict, None


def _with_trouble(result: Result, *trouble: str) -> Result:
    return replace(result, trouble=(*result.trouble, *trouble))


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
