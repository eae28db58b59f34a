"""The syntax of record keys, and the TID computed from a document's `_id`.

A TID is a 64-bit integer in 13 characters of sortable base32: a zero bit, 53 bits of microseconds
since 1970 and a 10-bit clock identifier. The same document always has the same TID. TIDs sort by
the time of the document, so new records are added at the end of a repo.
https://atproto.com/specs/tid https://atproto.com/specs/record-key
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from bson import ObjectId

_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
_DIGITS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # as for `int`
_TID = re.compile(f"[{_ALPHABET[:16]}][{_ALPHABET}]{{12}}")
_RKEY = re.compile(r"[A-Za-z0-9._:~-]{1,512}")

_CLOCK_BITS = 10
_LAST_TID = 2 ** (53 + _CLOCK_BITS) - 1
# The last whole millisecond of the TID range is reserved for `next_tid`.
_LAST_MILLIS = 2**53 // 1000 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def tid_for(document_id: ObjectId | str | int, when: datetime) -> str:
    """Compute the TID of a document; the same arguments give the same TID.

    The TID for an ObjectId is within the second that the ObjectId contains. The TID for another id
    is within the millisecond `when` (naive means UTC), at an offset hashed from the id and its
    type; dates outside 1970 to 2255 are clamped. Two ids may have the same TID in rare cases: use
    a unique index and `next_tid`.
    """
    if isinstance(document_id, ObjectId):
        return _encode(_object_id_number(document_id))
    return _encode(_hash_number(document_id, when))


def next_tid(tid: str) -> str:
    """Return the TID after `tid`; raises ValueError if invalid or the last TID."""
    number = _decode(tid) + 1
    if number > _LAST_TID:
        raise ValueError(f"no TID follows {tid}")
    return _encode(number)


def is_tid(text: str) -> bool:
    """Return whether `text` is a TID."""
    return _TID.fullmatch(text) is not None


def is_rkey(text: str) -> bool:
    """Return whether `text` is a valid record key, which need not be a TID."""
    return _RKEY.fullmatch(text) is not None and text not in {".", ".."}


def _object_id_number(object_id: ObjectId) -> int:
    """Convert a 12-byte ObjectId to a 63-bit integer, keeping time and counter.

    The 5 bytes that identify the process are reduced to a hash modulo 61, because a second has
    only about 61 x 2^24 clock ticks.
    """
    raw = object_id.binary
    seconds, process, counter = raw[:4], raw[4:9], raw[9:]
    share = int.from_bytes(hashlib.sha256(process).digest()) % 61
    ticks = share << 24 | int.from_bytes(counter)
    return (int.from_bytes(seconds) * 10**6 << _CLOCK_BITS) + ticks


def _hash_number(document_id: str | int, when: datetime) -> int:
    """Return a TID as an integer: a millisecond, and an offset within it.

    The millisecond is that of `when`; the offset is a hash of the id and its type.
    """
    kind = "str" if isinstance(document_id, str) else "int"
    digest = hashlib.sha256(f"{kind}:{document_id}".encode("utf-8", "surrogatepass")).digest()
    ticks = int.from_bytes(digest) % (1000 << _CLOCK_BITS)
    return (_millis(when) * 1000 << _CLOCK_BITS) + ticks


def _millis(when: datetime) -> int:
    """Convert `when` to milliseconds since 1970, clamped to the range of a TID."""
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return min(max((aware - _EPOCH) // timedelta(milliseconds=1), 0), _LAST_MILLIS)


def _encode(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(60, -5, -5))


def _decode(tid: str) -> int:
    if not is_tid(tid):
        raise ValueError(f"not a TID: {tid[:40]!r}")
    return int(tid.translate(_DIGITS), 32)
