"""The string formats that this package judges itself, where the library is too lax or too strict.

https://atproto.com/specs/lexicon#string-formats
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from worker.core.record_keys import is_rkey, is_tid

_DATETIME = re.compile(
    r"([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|(?!-00:00)[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
# The protocol's reference implementation reads no more than this.
_DATETIME_LENGTH = 64

_PCHAR = r"[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}"
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?://)?"
    rf"(?:{_PCHAR}|[?\[\]])(?:{_PCHAR}|[/?\[\]])*"
    rf"(?:#(?:{_PCHAR}|[/?])*)?"
)
_URI_LENGTH = 8192


def is_datetime(text: str) -> bool:
    """Say whether `text` is a date and time of RFC 3339, ISO 8601 and HTML alike.

    Seconds and a time zone are required, `-00:00` and leap seconds are not allowed, and the day
    must exist. https://atproto.com/specs/lexicon#datetime
    """
    if len(text) > _DATETIME_LENGTH or not (match := _DATETIME.fullmatch(text)):
        return False
    year, month, day = map(int, match.groups())
    return 1 <= day <= calendar.monthrange(year, month)[1]


def is_uri(text: str) -> bool:
    """Say whether `text` is a URI of RFC 3986: a scheme, and more than slashes after it.

    Anything outside its ASCII characters must be percent-encoded. As in the reference
    implementation a path may not follow the scheme at once (`file:/x`, `file:///x`).
    https://atproto.com/specs/lexicon#uri
    """
    return len(text) <= _URI_LENGTH and _URI.fullmatch(text) is not None


OWN_FORMATS: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {"datetime": is_datetime, "uri": is_uri, "tid": is_tid, "record-key": is_rkey}
)
"""Format name to its test. The library knows the other formats of the specification."""

LIBRARY_FORMATS = frozenset(
    {"at-identifier", "at-uri", "cid", "did", "handle", "language", "nsid"},
)
