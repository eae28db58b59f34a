"""Convert document ids between MongoDB, the queue and the terminal."""

from __future__ import annotations

import re

from bson import ObjectId

from worker.core.documents import DocumentId
from worker.core.errors import PermanentError

# Limits messages, log lines and Redis keys. The lexicons limit `ref` to less, except on moods.
_MAX_CHARACTERS = 512
_INT64 = 2**63
# NUL, lone surrogates, which drivers cannot send, and U+FFFD, with which PyMongo replaces invalid
# UTF-8: a query for the replaced text cannot find the document.
_INVALID_TEXT = re.compile("[\0\ud800-\udfff\ufffd]")


class InvalidIdError(PermanentError):
    """A value that cannot be the `_id` of a document."""

    step, code = "document", "invalid_id"


def parse_id(raw: object) -> tuple[DocumentId, ...]:
    """Return the possible document `_id`s for a value, most likely first.

    24 hexadecimal digits may be an ObjectId or a string. Other digits may be a string or an
    integer. Raises InvalidIdError for all other types, and for invalid strings and integers.
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
    """Return the possible document `_id`s for a value; empty if it is invalid."""
    try:
        return parse_id(raw)
    except InvalidIdError:
        return ()


def as_document_id(raw: object) -> DocumentId | None:
    """Convert a raw `_id` of MongoDB, or return None if messages cannot carry it.

    A whole float becomes an int, because MongoDB treats both as equal.
    """
    if isinstance(raw, ObjectId):
        return raw
    value = int(raw) if isinstance(raw, float) and raw.is_integer() else raw
    return next((each for each in candidate_ids(value) if each == value), None)


def message_id(document_id: DocumentId) -> str | int:
    """Convert a document `_id` to the int or string for a Celery message."""
    return document_id if isinstance(document_id, int) else str(document_id)
