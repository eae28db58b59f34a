"""The parts of an image file that a thumbnail is made from."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from io import BytesIO

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


class Selection:
    """Selected ranges of a file, which may be millions: adjacent ones are merged."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._bounds = array("Q")

    def add(self, start: int, end: int) -> None:
        """Select a range after all earlier ones; it may end after the file."""
        if self._bounds and self._bounds[-1] == start:
            self._bounds[-1] = end
        else:
            self._bounds.extend((start, end))

    def join(self, header: bytes) -> bytes:
        """Return `header` and the ranges; this is the file itself if it begins with `header`."""
        view, bounds = memoryview(self._data), self._bounds
        is_rest = bounds == array("Q", [len(header), len(view)])
        if is_rest and self._data.startswith(header):
            return self._data
        output = BytesIO()
        output.write(header)
        for n in range(0, len(bounds), 2):
            output.write(view[bounds[n] : bounds[n + 1]])
        return output.getvalue()
