"""The internal validation error, and functions that format its message."""

from __future__ import annotations

import reprlib

_MAX_QUOTE = 40
_quoter = reprlib.Repr()
_quoter.maxstring = _quoter.maxother = _quoter.maxlong = _MAX_QUOTE
_quoter.maxlevel = _quoter.maxdict = _quoter.maxlist = 2


class Violation(Exception):  # noqa: N818 - internal: translated by the callers of this package
    """A violation of a rule; a message consists of `field` followed by `reason`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


def join(path: str, key: str) -> str:
    """Return the path of the property `key` of the object at `path`; "" is the root."""
    return f"{path}.{key}" if path else key


def label(key: str) -> str:
    """Return a key shortened and escaped for log messages."""
    if len(key) <= _MAX_QUOTE and key.isascii() and key.isidentifier():
        return key
    return repr(key[:_MAX_QUOTE])[1:-1]


def quote(value: object) -> str:
    """Return a shortened `repr` of a value for error messages."""
    return _quoter.repr(value)
