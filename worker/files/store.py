"""What every store can do, and the keys of its files.

Names in a key come from documents that any user can write, so none is trusted. A part that could
leave its folder, or be read as structure by a server on the way, is refused; everything else is
carried as it is, percent-encoded in a URL.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from worker.files.errors import SourceKeyInvalidError, SourceMissingError

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
            fault = None if text is None else next(_find_faults(text), None)
            if fault:
                raise SourceKeyInvalidError(f"the {part} of the source {fault}: {_quote(text)}")


def _find_faults(text: str) -> Iterator[str]:
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


def _quote(text: str | None) -> str:
    """Return a text fit for a log: escaped and cut."""
    return ascii(text)[:80]


@dataclass(frozen=True, slots=True)
class SourceStat:
    """What the store says of a file without sending it.

    `identity` names this version of its bytes, None when the store gives nothing to go by;
    `size` is in bytes, None when not told.
    """

    identity: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file in full. `identity` is that of SourceStat, or else made from the bytes."""

    data: bytes
    identity: str


class SourceStore(Protocol):
    """A place where uploaded files are read.

    All methods raise the errors of `worker.files.errors`.
    """

    def stat(self, key: SourceKey) -> SourceStat:
        """Return what the store says of a file."""
        ...

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        """Return a file of at most `max_bytes`; raises SourceTooLargeError for a larger one."""
        ...

    def exists(self, key: SourceKey) -> bool:
        """Tell whether the file is there.

        False only when the store says so itself (ENOENT, 404, 410); raises when it cannot
        tell, so that an outage or a lost permission never looks like a deleted file.
        """
        try:
            self.stat(key)
        except SourceMissingError:
            return False
        return True

    def close(self) -> None:
        """Give back connections and file descriptors."""
        ...
