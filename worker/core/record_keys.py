"""Record keys: their syntax, and the TID derived from a document's `_id`.

A TID is a 64-bit integer in 13 characters of sortable base32: a zero bit, 53 bits of microseconds
since 1970 and a 10-bit clock identifier. It is a function of the document, so that it can be
computed again, and sorts by the document's age, so that a repo grows at its end.
https://atproto.com/specs/tid https://atproto.com/specs/record-key
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from bson import ObjectId

_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
_DIGITS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # those of `int`
_TID = re.compile(f"[{_ALPHABET[:16]}][{_ALPHABET}]{{12}}")
_RKEY = re.compile(r"[A-Za-z0-9._:~-]{1,512}")

_CLOCK_BITS = 10
_LAST_TID = 2 ** (53 + _CLOCK_BITS) - 1
# The last whole millisecond of the range is left free for `next_tid`.
_LAST_MILLIS = 2**53 // 1000 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def tid_for(document_id: ObjectId | str | int, when: datetime) -> str:
    """Return the TID of a document, always the same one.

    An ObjectId contains its own time, and the TID stays within that second. For any other id it
    is within the millisecond `when` (naive means UTC), at a position hashed from the id and its
    type; dates outside 1970 to 2255 are clamped. In rare cases two ids have the same TID: keep
    a unique index and use `next_tid`.
    """
    if isinstance(document_id, ObjectId):
        return _encode(_object_id_number(document_id))
    return _encode(_hash_number(document_id, when))


def next_tid(tid: str) -> str:
    """Return the TID after `tid`, a key that is taken; raises ValueError."""
    number = _decode(tid) + 1
    if number > _LAST_TID:
        raise ValueError(f"no TID follows {tid}")
    return _encode(number)


def is_tid(text: str) -> bool:
    """Return whether `text` is a TID."""
    return _TID.fullmatch(text) is not None


def is_rkey(text: str) -> bool:
    """Return whether `text` is a record key of any kind."""
    return _RKEY.fullmatch(text) is not None and text not in {".", ".."}


def _object_id_number(object_id: ObjectId) -> int:
    """Fold an ObjectId of 12 bytes into 63 bits, keeping its whole counter.

    Of the 5 bytes that identify the process only a hash modulo 61 fits: a second has no more
    than 61 x 2^24 clock ticks.
    """
    raw = object_id.binary
    seconds, process, counter = raw[:4], raw[4:9], raw[9:]
    share = int.from_bytes(hashlib.sha256(process).digest()) % 61
    ticks = share << 24 | int.from_bytes(counter)
    return (int.from_bytes(seconds) * 10**6 << _CLOCK_BITS) + ticks


def _hash_number(document_id: str | int, when: datetime) -> int:
    """Combine the millisecond of `when` with a hash of an id that contains no time."""
    kind = "str" if isinstance(document_id, str) else "int"
    digest = hashlib.sha256(f"{kind}:{document_id}".encode("utf-8", "surrogatepass")).digest()
    ticks = int.from_bytes(digest) % (1000 << _CLOCK_BITS)
    return (_millis(when) * 1000 << _CLOCK_BITS) + ticks


def _millis(when: datetime) -> int:
    """Return the milliseconds since 1970, clamped to the range of a TID."""
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return min(max((aware - _EPOCH) // timedelta(milliseconds=1), 0), _LAST_MILLIS)


def _encode(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(60, -5, -5))


def _decode(tid: str) -> int:
    if not is_tid(tid):
        raise ValueError(f"not a TID: {tid[:40]!r}")
    return int(tid.translate(_DIGITS), 32)
