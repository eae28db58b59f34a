"""Blob rules of lexicons, and the validation of blob references.

https://atproto.com/specs/data-model#blob-type https://atproto.com/specs/lexicon#blob
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from worker.core.cid import is_blob_cid
from worker.media.validation.data_model import MAX_INTEGER
from worker.media.validation.errors import Violation, join, label, quote

_NAME = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MIME_TYPE = re.compile(f"{_NAME}/{_NAME}")
_MIME_PATTERN = re.compile(rf"\*/\*|{_NAME}/(?:\*|{_NAME})")


@dataclass(frozen=True, slots=True)
class BlobRule:
    """The MIME types and the maximum size of the blobs in a field.

    `accept` contains MIME types or patterns (`image/*`, `*/*`); an empty tuple allows any type.
    `max_size` is in bytes; None means no limit.
    """

    accept: tuple[str, ...] = ()
    max_size: int | None = None

    def accepts(self, mime_type: str) -> bool:
        """Return whether `mime_type` is allowed and has no parameters."""
        if not _MIME_TYPE.fullmatch(mime_type):
            return False
        family = mime_type.partition("/")[0] + "/*"
        return not self.accept or not {"*/*", family, mime_type}.isdisjoint(self.accept)


def is_mime_pattern(text: str) -> bool:
    """Return whether `text` is a MIME type or pattern (`image/*`, `*/*`)."""
    return _MIME_PATTERN.fullmatch(text) is not None


def check_blob(rule: BlobRule, value: object, path: str) -> None:
    """Check a blob reference in JSON form; raises Violation if invalid.

    Valid is `{"$type": "blob", "ref": {"$link": cid}, "mimeType": text, "size": bytes}`.
    """
    blob = _object(value, ("$type", "ref", "mimeType", "size"), path)
    if blob["$type"] != "blob":
        raise Violation(join(path, "$type"), f"should be 'blob', got {quote(blob['$type'])}")
    ref = join(path, "ref")
    link = _object(blob["ref"], ("$link",), ref)["$link"]
    if not isinstance(link, str) or not is_blob_cid(link):
        reason = f"should be a CIDv1 (raw, SHA-256, base32), got {quote(link)}"
        raise Violation(join(ref, "$link"), reason)
    _check_mime_type(rule, blob["mimeType"], join(path, "mimeType"))
    _check_size(rule, blob["size"], join(path, "size"))


def _object(value: object, keys: tuple[str, ...], path: str) -> dict[str, object]:
    """Return `value` if it is an object with exactly `keys`, else raise Violation."""
    if not isinstance(value, dict):
        raise Violation(path, f"should be an object with {', '.join(keys)}, got {quote(value)}")
    for key in keys:
        if key not in value:
            raise Violation(join(path, key), "is required")
    for key in value:
        if key not in keys:
            raise Violation(join(path, label(key)), "is not part of a blob reference")
    return value


def _check_mime_type(rule: BlobRule, value: object, path: str) -> None:
    if not isinstance(value, str) or not _MIME_TYPE.fullmatch(value):
        raise Violation(path, f"should be a MIME type without parameters, got {quote(value)}")
    if not rule.accepts(value):
        raise Violation(path, f"should be one of {', '.join(rule.accept)}, got {quote(value)}")


def _check_size(rule: BlobRule, value: object, path: str) -> None:
    if type(value) is not int or not 1 <= value <= MAX_INTEGER:
        raise Violation(path, f"should be a number of bytes above 0, got {quote(value)}")
    if rule.max_size is not None and value > rule.max_size:
        raise Violation(path, f"should be {rule.max_size} bytes at most, got {value}")
