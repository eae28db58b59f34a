"""The interface of stores, and the keys of their files.

The names in a key come from documents that any user can write, so they are not trusted. A part
that could leave its folder, or that a server could read as structure, is rejected; all others
are used unchanged, percent-encoded in a URL.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from worker.core.errors import PermanentError
from worker.files.errors import SourceMissingError

_MAX_BYTES = 255  # NAME_MAX of common file systems
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class SourceKey:
    """The key of a file: a bucket, the owner's subject (None: a guest), a name.

    Raises PermanentError naming the part that is empty, longer than 255 bytes, starts with a dot,
    or contains a slash, a backslash, a control character or a percent-escape.
    """

    bucket: str
    user: str | None
    name: str

    def __post_init__(self) -> None:
        parts = {"bucket": self.bucket, "user": self.user, "name": self.name}
        for part, text in parts.items():
            if text is not None and (fault := next(_find_faults(text), None)):
                message = f"the {part} of the source {fault}: {ascii(text)[:80]}"
                raise PermanentError(message, step="source", code="source_key_invalid")


def _find_faults(text: str) -> Iterator[str]:
    """Yield the faults of a part of a key, the worst first."""
    if any(unicodedata.category(character) in _CONTROL for character in text):
        yield "contains a control character"
    if not text:
        yield "is empty"
    if "/" in text or "\\" in text:
        yield "contains a slash"
    if text.startswith("."):
        yield "starts with a dot"
    if _ESCAPE.search(text):
        yield "contains a percent-escape, which a server might decode twice"
    if len(text.encode()) > _MAX_BYTES:
        yield f"is longer than {_MAX_BYTES} bytes"


@dataclass(frozen=True, slots=True)
class SourceStat:
    """The identity of a version of a file, and its size in bytes; None if unknown."""

    identity: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A whole file; `identity` is that of SourceStat, or a hash of the bytes."""

    data: bytes
    identity: str


class SourceStore(Protocol):
    """Reads uploaded files; all methods raise MediaError with a code `source_...`."""

    def stat(self, key: SourceKey) -> SourceStat:
        """Return identity and size of a file without reading it."""
        ...

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        """Return a file of at most `max_bytes`; raises SourceTooLargeError."""
        ...

    def exists(self, key: SourceKey) -> bool:
        """Return whether a file exists.

        It is False only if the store reports so (ENOENT, 404, 410). An outage or a missing
        permission raises, so that it never looks like a deleted file.
        """
        try:
            self.stat(key)
        except SourceMissingError:
            return False
        return True

    def close(self) -> None:
        """Close the connections."""
