"""The internal error of validation, and the parts of its messages."""

from __future__ import annotations

import reprlib

_MAX_QUOTE = 40
_quoter = reprlib.Repr()
_quoter.maxstring = _quoter.maxother = _quoter.maxlong = _MAX_QUOTE
_quoter.maxlevel = _quoter.maxdict = _quoter.maxlist = 2


class Violation(Exception):  # noqa: N818 - internal: translated by the callers of this package
    """A violated rule: the path of the field, and the reason as text that follows it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


def join(path: str, key: str) -> str:
    """Return the path of a property of the object at `path` ("" is the record)."""
    return f"{path}.{key}" if path else key


def label(key: str) -> str:
    """Return an undeclared key as text that is short and safe to log."""
    if len(key) <= _MAX_QUOTE and key.isascii() and key.isidentifier():
        return key
    return repr(key[:_MAX_QUOTE])[1:-1]


def quote(value: object) -> str:
    """Return a short excerpt of a JSON value for a message."""
    return _quoter.repr(value)
