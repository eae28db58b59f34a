"""Reading TIDs, which the worker only makes."""

from __future__ import annotations

from worker.core.record_keys import is_tid

_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
_CLOCK_BITS = 10


def tid_micros(tid: str) -> int:
    """Return the time in `tid`, in microseconds since 1970; raises ValueError if it is no TID.

    https://atproto.com/specs/tid
    """
    if not is_tid(tid):
        raise ValueError(f"{tid!r} is not a TID")
    number = 0
    for letter in tid:
        number = number * 32 + _ALPHABET.index(letter)
    return number >> _CLOCK_BITS
