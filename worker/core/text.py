"""Limit the length of foreign text, and make it printable.

Foreign is each text that a document, message, PDS, directory or other server supplies. Truncate it
before any other processing, and make it printable before it is stored, logged or displayed.
"""

from __future__ import annotations

import re
from traceback import TracebackException

_MAX_MESSAGE = 2000  # characters of the message of an exception
_FRAME = re.compile(r"[ |+-]*File \"")  # also in the margin of an exception group
MAX_SHOWN = 300
"""The number of characters of a value that tables and pages display."""


def truncate(text: str, limit: int) -> str:
    """Cut a text of more than `limit` characters, and append its original length."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}... ({len(text)} characters)"


def printable(text: str) -> str:
    """Replace the characters in `text` that are not printable by escape sequences.

    These include line breaks, terminal controls, bidirectional controls and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """Make each line of our own multi-line text printable, and keep the line breaks."""
    return "\n".join(map(printable, text.split("\n")))


def format_traceback(error: BaseException) -> str:
    """Format an exception and its traceback; only frames, our own text, keep their line breaks.

    Local variables are not shown, because they may contain passwords.
    """
    parts = [part.removesuffix("\n") for part in TracebackException.from_exception(error).format()]
    return "\n".join(_format_part(part) for part in parts)


def _format_part(part: str) -> str:
    return printable_lines(part) if _FRAME.match(part) else printable(truncate(part, _MAX_MESSAGE))
