"""Clocks: leases, retries and budgets compare moments of several machines."""

from __future__ import annotations

from collections.abc import Callable

from worker.operations.doctor.findings import Finding, doubtful, fine, wrong

Clock = Callable[[], float]
"""Seconds since 1970, as this machine has it."""

_NOTICED = 2.0  # seconds; an HTTP date is cut to whole seconds
_TOO_FAR = 30.0  # seconds; what a lease has over the time limit of its task is less
_ADVICE = "have both machines keep their time (chrony, systemd-timesyncd)"


def judge_clock(subject: str, ahead: float) -> Finding:
    """Judge how many seconds the clock of a service is ahead of this machine's."""
    way = "ahead of" if ahead > 0 else "behind"
    found = f"{abs(ahead):.1f} s {way} this machine's"
    if abs(ahead) > _TOO_FAR:
        return wrong(subject, "clock", found, _ADVICE)
    if abs(ahead) > _NOTICED:
        return doubtful(subject, "clock", found, _ADVICE)
    return fine(subject, "clock", found)
