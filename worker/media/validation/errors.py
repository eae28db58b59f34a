"""What the checks of this package raise, and how they name a field and quote a value."""

from __future__ import annotations

import reprlib

_QUOTE = 40
_quoter = reprlib.Repr()
_quoter.maxstring = _quoter.maxother = _quoter.maxlong = _QUOTE
_quoter.maxlevel = _quoter.maxdict = _quoter.maxlist = 2


class Violation(Exception):  # noqa: N818 - internal: becomes a LexiconViolation at the package's edge
    """One rule broken: `field` is the path of the field, `reason` what is wrong with it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


def join(path: str, key: str) -> str:
    """Return the path of the property `key` of the object at `path` ("" is the record)."""
    return f"{path}.{key}" if path else key


def label(key: str) -> str:
    """Return a key that no lexicon vouches for as text that is short and safe to log."""
    if len(key) <= _QUOTE and key.isascii() and key.isidentifier():
        return key
    return repr(key[:_QUOTE])[1:-1]


def quote(value: object) -> str:
    """Return a short excerpt of a JSON value, for a message."""
    return _quoter.repr(value)
