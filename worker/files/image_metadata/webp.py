"""Read WebP files (https://developers.google.com/speed/webp/docs/riff_container)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from worker.files.image_metadata.parts import MAX_EXIF, MAX_PROFILE, ImageParts, Selection

_RIFF, _WEBP = b"RIFF", b"WEBP"
_PIXELS = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM"})
_FRAME = b"ANMF"
_LIMITS = {b"EXIF": MAX_EXIF, b"ICCP": MAX_PROFILE}


def is_of(data: bytes) -> bool:
    """Return whether a file has the signature of a WebP."""
    return data.startswith(_RIFF) and data[8:12] == _WEBP


def read(data: bytes) -> ImageParts:
    """Return the first frame of a WebP, its EXIF data and profile."""
    extras, pieces, has_frame, size = dict[bytes, bytes](), Selection(data), False, len(_WEBP)
    for kind, start, end, length in _chunks(data):
        if kind in _PIXELS or (kind == _FRAME and not has_frame):
            pieces.add(start, end)
            size += min(end, len(data)) - start
            has_frame = has_frame or kind == _FRAME
        elif kind not in extras and length <= _LIMITS.get(kind, -1):
            extras[kind] = data[start + 8 : start + 8 + length]
    header = struct.pack("<4sI4s", _RIFF, size, _WEBP)
    return ImageParts(
        pieces.join(header),
        exif=extras.get(b"EXIF", b""),
        profile=extras.get(b"ICCP", b""),
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield the name, start, end and length of each chunk."""
    position = 12
    whole = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while position + 8 <= whole:
        kind, length = struct.unpack_from("<4sI", data, position)
        end = position + 8 + length + length % 2
        yield kind, position, end, length
        position = end
