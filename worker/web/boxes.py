"""The parts of a page, each of which may be missing without the others being so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from worker.core.errors import MediaError

T = TypeVar("T")

_SHARE = 4  # what took a second is kept for four: at most a fifth of the time goes into it


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a part is not there, and how many seconds went into asking for it."""

    message: str
    seconds: float


def asked(call: Callable[[], T]) -> T | Missing:
    """Return what a call returns, or why it did not."""
    began = time.monotonic()
    try:
        return call()
    except MediaError as error:
        return Missing(error.message, time.monotonic() - began)


class Shared(Generic[T]):
    """Something that takes time to make, kept for some `seconds`, and made by one at a time.

    Whoever comes while it is being made waits for it, and gets the same.
    """

    def __init__(self, make: Callable[[], T], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: tuple[T, float] | None = None  # with the moment after which it is too old

    def get(self) -> T:
        """Return it, made now if what is kept is too old."""
        with self._lock:
            if self._kept and time.monotonic() < self._kept[1]:
                return self._kept[0]
            began = time.monotonic()
            made = self._make()
            took = time.monotonic() - began
            self._kept = made, began + took + max(self._seconds, _SHARE * took)
            return made
