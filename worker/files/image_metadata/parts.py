"""The parts of an image file that a thumbnail is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

MAX_EXIF = 1 << 16  # bytes; the maximum length of a JPEG segment
_END_SIZE = 2
MAX_PROFILE = 1 << 22  # bytes; profiles of printers have up to 3 MB


@dataclass(frozen=True, slots=True)
class ImageParts:
    """The pixels of an image file, and the metadata that affects them.

    `data` is the file without metadata and later frames. `transparent` is the grey value or RGB
    colour that is transparent, at `depth` bits. `tails` is set if the missing end marker of a JPEG
    was added: if one of them changes the image (`with_tail`), pixels are missing too.
    """

    data: bytes
    exif: bytes = b""
    profile: bytes = b""
    transparent: tuple[int, ...] = ()
    depth: int = 8
    tails: tuple[bytes, ...] = ()

    def with_tail(self, tail: bytes) -> ImageParts:
        """Return the image with other data before the added end marker."""
        data = self.data[:-_END_SIZE] + tail + self.data[-_END_SIZE:]
        return replace(self, data=data)


def join(pieces: Sequence[bytes | memoryview], data: bytes) -> bytes:
    """Return the joined pieces of `data`, or `data` itself if nothing is missing."""
    is_whole = sum(map(len, pieces)) == len(data)
    return data if is_whole else b"".join(pieces)
