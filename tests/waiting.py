"""Waiting in tests: for a condition, with a deadline, never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL = 0.02


def wait_for(
    condition: Callable[[], T], *, what: str, within: float = 120.0, every: float = _POLL
) -> T:
    """Return the first true value of `condition`, asked again and again, `every` so many seconds.

    Raises AssertionError saying `what` did not come true `within` that many seconds. The
    deadline is for a broken run: it is far above what a slow machine needs.
    """
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within:g} seconds in vain for {what}")
        time.sleep(every)
    return value
