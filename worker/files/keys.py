"""Which file of the store: names come from documents that any user can write, so none is trusted.

What could leave its folder or be read as structure by some server on the way is refused;
everything else is carried as it is, percent-encoded in a URL.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from worker.files.errors import SourceKeyInvalidError

_MAX_BYTES = 255  # NAME_MAX of the usual file systems
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class SourceKey:
    """The name of one file: its bucket, its owner's subject (None for a guest), its file name.

    Raises SourceKeyInvalidError, naming the part, when a part is empty, longer than 255 bytes,
    starts with a dot, or holds a slash, a backslash, a control character or a percent-escape.
    """

    bucket: str
    user: str | None
    name: str

    def __post_init__(self) -> None:
        parts = {"bucket": self.bucket, "user": self.user, "name": self.name}
        for part, text in parts.items():
            fault = None if text is None else next(_faults(text), None)
            if fault:
                raise SourceKeyInvalidError(f"the {part} of the source {fault}: {_shown(text)}")


def _faults(text: str) -> Iterator[str]:
    """Yield what is wrong with one part of a key, the worst first."""
    if any(unicodedata.category(character) in _CONTROL for character in text):
        yield "holds a control character"
    if not text:
        yield "is empty"
    if "/" in text or "\\" in text:
        yield "holds a slash"
    if text.startswith("."):
        yield "starts with a dot"
    if _ESCAPE.search(text):
        yield "holds a percent-escape, which a server might decode twice"
    if len(text.encode()) > _MAX_BYTES:
        yield f"is longer than {_MAX_BYTES} bytes"


def _shown(text: str | None) -> str:
    """Return a text fit for a log: escaped and cut."""
    return ascii(text)[:80]
