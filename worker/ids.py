"""Document ids as they cross the queue and the terminal: text or numbers, back to `_id`s."""

from __future__ import annotations

import re

from bson import ObjectId

from worker.documents import DocumentId
from worker.errors import PermanentError

_MOST_CHARACTERS = 512  # of a record's `ref`
_INT64 = 2**63


class InvalidIdError(PermanentError):
    """No document can have this as its `_id`."""

    step = "document"
    code = "invalid_id"


def parse_id(raw: object) -> tuple[DocumentId, ...]:
    """Return the `_id`s that a message may mean, likeliest first; raises InvalidIdError.

    Text of 24 hexadecimal digits is an ObjectId, or else that text; digits are that text, or
    else that number.
    """
    if isinstance(raw, ObjectId):
        return (raw,)
    if isinstance(raw, int) and not isinstance(raw, bool) and -_INT64 <= raw < _INT64:
        return (raw,)
    if not isinstance(raw, str) or not 0 < len(raw) <= _MOST_CHARACTERS or "\0" in raw:
        raise InvalidIdError(f"not the _id of a document: {ascii(raw)[:60]}")
    if ObjectId.is_valid(raw):
        return (ObjectId(raw), raw)
    if re.fullmatch(r"-?\d{1,19}", raw, re.ASCII) and -_INT64 <= int(raw) < _INT64:
        return (raw, int(raw))
    return (raw,)
