"""Convert document ids between MongoDB, the queue and the terminal."""

from __future__ import annotations

import re

from bson import ObjectId

from worker.core.documents import DocumentId
from worker.core.errors import PermanentError

_MAX_CHARACTERS = 512  # of a record's `ref`
_INT64 = 2**63
# Lone surrogates, which no driver can send, and U+FFFD, which PyMongo puts in place of bytes that
# are not UTF-8: no text finds a document whose `_id` contains such bytes.
_INVALID_TEXT = re.compile("[\0\ud800-\udfff\ufffd]")


class InvalidIdError(PermanentError):
    """The value cannot be the `_id` of a document."""

    step, code = "document", "invalid_id"


def parse_id(raw: object) -> tuple[DocumentId, ...]:
    """Return the `_id`s that a value may mean, likeliest first.

    24 hexadecimal digits mean an ObjectId or that text; other digits mean that text or number.
    Raises InvalidIdError.
    """
    if isinstance(raw, ObjectId):
        return (raw,)
    if isinstance(raw, int) and not isinstance(raw, bool) and -_INT64 <= raw < _INT64:
        return (raw,)
    if type(raw) is not str or not 0 < len(raw) <= _MAX_CHARACTERS or _INVALID_TEXT.search(raw):
        raise InvalidIdError(f"not the _id of a document: {ascii(raw)[:60]}")
    if ObjectId.is_valid(raw):
        return (ObjectId(raw), raw)
    if re.fullmatch(r"-?\d{1,19}", raw, re.ASCII) and -_INT64 <= int(raw) < _INT64:
        return (raw, int(raw))
    return (raw,)


def candidate_ids(raw: object) -> tuple[DocumentId, ...]:
    """Return the `_id`s that a message may mean, none for an invalid id."""
    try:
        return parse_id(raw)
    except InvalidIdError:
        return ()


def as_document_id(raw: object) -> DocumentId | None:
    """Return a document's `_id`, or None if no message can name it.

    A whole float becomes an int: MongoDB finds either by the other.
    """
    value = int(raw) if isinstance(raw, float) and raw.is_integer() else raw
    return next((each for each in candidate_ids(value) if each == value), None)


def message_id(document_id: DocumentId) -> str | int:
    """Return a document's `_id` in the form that messages carry."""
    return document_id if isinstance(document_id, int) else str(document_id)
