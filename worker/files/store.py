"""The interface of media stores, and the keys of files in a store.

Keys are built from documents that users can write, so they are untrusted. Segments that could
change the structure of a path or URL are rejected. All other segments are used unchanged, and
percent-encoded in URLs.
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
_MAX_SEGMENTS = 8
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class SourceKey:
    """The key of a file: the bucket, and the segments of the path.

    Raises PermanentError if the path does not have 1 to 8 segments, or if the bucket or a segment
    is empty, longer than 255 bytes, starts with a dot, or contains a slash, a backslash, a control
    character or a percent-escape.
    """

    bucket: str
    path: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_segment("the bucket", self.bucket)
        for segment in self.path:
            _check_segment("a path segment", segment)
        if not 0 < len(self.path) <= _MAX_SEGMENTS:
            message = f"the path of the source has {len(self.path)} segments of {_MAX_SEGMENTS}"
            raise _invalid(message)

    @property
    def text(self) -> str:
        """Return the path as one text, as it is saved in the state of a document."""
        return "/".join(self.path)


def _check_segment(part: str, text: str) -> None:
    if fault := next(_find_faults(text), None):
        raise _invalid(f"{part} of the source {fault}: {ascii(text)[:80]}")


def _invalid(message: str) -> PermanentError:
    return PermanentError(message, step="source", code="source_key_invalid")


def _find_faults(text: str) -> Iterator[str]:
    """Yield error texts for one segment of a key, control characters first."""
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
    """Identifies the version of a file; `size` is in bytes. None means unknown."""

    identity: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The content of a file; `identity` is as in SourceStat, or contains a hash."""

    data: bytes
    identity: str


class SourceStore(Protocol):
    """Reads source files; methods raise MediaError with a code `source_...`."""

    def stat(self, key: SourceKey) -> SourceStat:
        """Return the identity and size of a file without reading its content."""
        ...

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        """Read a file; raises SourceTooLargeError if it exceeds `max_bytes`."""
        ...

    def exists(self, key: SourceKey) -> bool:
        """Return whether a file exists.

        Returns False only if the store reports a missing file (ENOENT, 404, 410). Raises
        MediaError for outages and missing permissions.
        """
        try:
            self.stat(key)
        except SourceMissingError:
            return False
        return True

    def close(self) -> None:
        """Close all open connections."""
