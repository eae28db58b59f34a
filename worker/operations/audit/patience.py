"""Waiting as long as a PDS asks for, when it has had enough questions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from worker.core.clock import now
from worker.core.errors import WaitError

T = TypeVar("T")

_LONGEST_WAIT = 600.0  # seconds; the windows of a PDS's limits on reading are half as long


def patiently(call: Callable[[], T]) -> T:
    """Make a call that only reads, again after each wait that is asked for.

    Raises WaitError when the wait would be too long, and whatever the call raises.
    """
    while True:
        try:
            return call()
        except WaitError as told:
            seconds = (told.until - now()).total_seconds()
            if seconds > _LONGEST_WAIT:
                raise
            time.sleep(max(seconds, 0.0))
