"""Document ids as they cross the queue and the terminal: text or numbers, back to `_id`s."""

from __future__ import annotations

import re

from bson import ObjectId

from worker.core.documents import DocumentId
from worker.core.errors import PermanentError

_MAX_CHARACTERS = 512  # of a record's `ref`
_INT64 = 2**63
# Half of a surrogate pair: no driver can send it. And what MongoDB's driver puts in the place of
# bytes that are no text: a document whose `_id` holds such bytes is found by no text.
_NO_TEXT = re.compile("[\0\ud800-\udfff\ufffd]")


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
    if type(raw) is not str or not 0 < len(raw) <= _MAX_CHARACTERS or _NO_TEXT.search(raw):
        raise InvalidIdError(f"not the _id of a document: {ascii(raw)[:60]}")
    if ObjectId.is_valid(raw):
        return (ObjectId(raw), raw)
    if re.fullmatch(r"-?\d{1,19}", raw, re.ASCII) and -_INT64 <= int(raw) < _INT64:
        return (raw, int(raw))
    return (raw,)


def as_document_id(raw: object) -> DocumentId | None:
    """Return a document's `_id`, or None when it is one that no message can name.

    A whole number is a number, of whichever type: MongoDB finds the one by the other.
    """
    value = int(raw) if isinstance(raw, float) and raw.is_integer() else raw
    try:
        return next((each for each in parse_id(value) if each == value), None)
    except InvalidIdError:
        return None


def message_id(document_id: DocumentId) -> str | int:
    """Return a document's `_id` as messages carry it."""
    return document_id if isinstance(document_id, int) else str(document_id)
