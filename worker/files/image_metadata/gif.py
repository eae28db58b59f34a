"""Read GIF files (https://www.w3.org/Graphics/GIF/spec-gif89a.txt)."""

from __future__ import annotations

import re

from worker.files.image_metadata.parts import ImageParts, Selection

_EXTENSION, _CONTROL = 0x21, 0xF9
_IMAGE_OR_TRAILER = b",;"
_BLOCK = re.compile(b"[!,;]")  # the first byte of an extension, image or trailer
_CONTROL_SIZE = 4


def is_of(data: bytes) -> bool:
    """Return whether a file has the signature of a GIF."""
    return data.startswith((b"GIF87a", b"GIF89a"))


def read(data: bytes) -> ImageParts:
    """Return a GIF without the extensions before its first image.

    The last complete graphic control extension is kept, as it has the transparent colour.
    """
    start = 13
    if data[10:11] and data[10] & 0x80:
        start += 3 << (data[10] & 7) + 1
    position, control = start, b""
    while position < len(data) and data[position] not in _IMAGE_OR_TRAILER:
        if data[position] != _EXTENSION:
            found = _BLOCK.search(data, position)
            position = found.start() if found else len(data)
            continue
        kind, size = data[position + 1 : position + 3].ljust(2, b"\0")
        if kind == _CONTROL and size >= _CONTROL_SIZE:
            body = data[position + 3 : position + 3 + _CONTROL_SIZE]
            control = bytes((_EXTENSION, _CONTROL, _CONTROL_SIZE)) + body + b"\0"
        position = _skip_blocks(data, position + 2)
    pieces = Selection(data)
    pieces.add(position, len(data))
    return ImageParts(pieces.join(data[:start] + control))


def _skip_blocks(data: bytes, position: int) -> int:
    """Return the position after the sub-blocks that start at `position`."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1
