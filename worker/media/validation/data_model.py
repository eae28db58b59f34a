"""Check values against the AT Protocol data model, and some string formats.

Only string formats for which `lexrpc` is too lax or too strict are checked here.
https://atproto.com/specs/data-model and https://atproto.com/specs/lexicon#string-formats
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping

from worker.core.record_keys import is_rkey, is_tid
from worker.media.validation.errors import Violation, join, label

MAX_INTEGER = 2**53 - 1
"""The largest absolute value of an integer that JavaScript represents exactly."""
MAX_DEPTH = 32
"""The maximum number of nested objects and arrays, including the record."""
_DATETIME = re.compile(
    r"([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|(?!-00:00)[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
# The maximum length in the protocol's reference implementation.
_DATETIME_LENGTH = 64
_PCHAR = r"[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}"
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?://)?"
    rf"(?:{_PCHAR}|[?\[\]])(?:{_PCHAR}|[/?\[\]])*"
    rf"(?:#(?:{_PCHAR}|[/?])*)?"
)
_URI_LENGTH = 8192


def is_datetime(text: str) -> bool:
    """Return whether `text` is a valid datetime in RFC 3339, ISO 8601 and HTML.

    Seconds and a time zone are required, `-00:00` and leap seconds are not allowed, and the day
    must exist. https://atproto.com/specs/lexicon#datetime
    """
    if len(text) > _DATETIME_LENGTH or not (match := _DATETIME.fullmatch(text)):
        return False
    year, month, day = map(int, match.groups())
    return 1 <= day <= calendar.monthrange(year, month)[1]


def is_uri(text: str) -> bool:
    """Return whether `text` is an RFC 3986 URI with more than a scheme and slashes.

    Non-ASCII characters must be percent-encoded. As in the reference implementation, the scheme
    may not be followed by an absolute path (`file:/x`, `file:///x`). https://atproto.com/specs/lexicon#uri
    """
    return len(text) <= _URI_LENGTH and _URI.fullmatch(text) is not None


OWN_FORMATS: Mapping[str, Callable[[str], bool]] = {
    "datetime": is_datetime,
    "uri": is_uri,
    "tid": is_tid,
    "record-key": is_rkey,
}
"""The checks of the string formats that this package validates."""
LIBRARY_FORMATS = frozenset({"at-identifier", "at-uri", "cid", "did", "handle", "language", "nsid"})
"""The string formats that `lexrpc` validates."""


def check_data(record: object) -> dict[str, object]:
    """Check that `record` contains only JSON values; return a shallow copy.

    Raises Violation if `record` is not a mapping, or for the first float, integer beyond
    `MAX_INTEGER`, lone surrogate, key that is not a string, value without a JSON form (bytes,
    tuples, dates), or object or array nested deeper than `MAX_DEPTH`.
    """
    if not isinstance(record, Mapping):
        raise Violation("record", f"is {_kind(record)} and should be an object")
    plain = dict(record)
    _check_object(plain, "", MAX_DEPTH)
    return plain


def _check(value: object, path: str, depth: int) -> None:
    if depth == 0 and isinstance(value, dict | list):
        raise Violation(path, f"is nested more than {MAX_DEPTH} levels deep")
    if type(value) is str:
        _check_text(value, path)
    elif type(value) is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise Violation(path, "is an integer beyond 2^53-1, which not every reader can hold")
    elif type(value) is dict:
        _check_object(value, path, depth)
    elif type(value) is list:
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth - 1)
    elif type(value) is float:
        raise Violation(path, "is a float, which AT Protocol records cannot hold")
    elif value is not None and type(value) is not bool:
        raise Violation(path, f"is {_kind(value)}, which has no JSON form")


def _check_object(value: dict[object, object], path: str, depth: int) -> None:
    for key, item in value.items():
        if not isinstance(key, str):
            raise Violation(path or "record", f"has a key that is {_kind(key)}, not a string")
        where = join(path, label(key))
        _check_text(key, where)
        _check(item, where, depth - 1)


def _check_text(text: str, path: str) -> None:
    """Raise Violation for a lone surrogate, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        reason = f"holds a lone surrogate at character {error.start}, which is not Unicode text"
        raise Violation(path, reason) from None


def _kind(value: object) -> str:
    return f"a Python {type(value).__name__}"
