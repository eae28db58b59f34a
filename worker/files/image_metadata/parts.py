"""The parts of an image file that a thumbnail is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_EXIF = 1 << 16  # bytes; the maximum length of a JPEG segment
MAX_PROFILE = 1 << 22  # bytes; profiles of printers have up to 3 MB


@dataclass(frozen=True, slots=True)
class ImageParts:
    """The pixels of an image file, and the metadata that affects them.

    `data` is the file without metadata and later frames. `transparent` is the grey value or RGB
    colour that is transparent, at `depth` bits. `probe` is set for a JPEG whose end is missing: the
    same file, but followed by other data.
    """

    data: bytes
    exif: bytes = b""
    profile: bytes = b""
    transparent: tuple[int, ...] = ()
    depth: int = 8
    probe: bytes = b""


def join(pieces: Sequence[bytes | memoryview], data: bytes) -> bytes:
    """Return the joined pieces of `data`, or `data` itself if nothing is missing."""
    is_whole = sum(map(len, pieces)) == len(data)
    return data if is_whole else b"".join(pieces)
