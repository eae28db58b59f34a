"""Read GIF files (https://www.w3.org/Graphics/GIF/spec-gif89a.txt)."""

from __future__ import annotations

import re

from worker.files.image_metadata.parts import ImageParts, join

_EXTENSION, _TRAILER, _CONTROL = 0x21, 0x3B, 0xF9
_BLOCK = re.compile(b"[\x21\x2c\x3b]")  # an extension, image or trailer starts with these
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
    while block := _BLOCK.search(data, position):
        position = block.start()
        if data[position] != _EXTENSION:
            break
        is_control = data[position + 1 : position + 2] == bytes((_CONTROL,))
        if is_control and data[position + 2 : position + 3] >= bytes((_CONTROL_SIZE,)):
            body = data[position + 3 : position + 3 + _CONTROL_SIZE]
            control = bytes((_EXTENSION, _CONTROL, _CONTROL_SIZE)) + body + b"\0"
        position = _skip_blocks(data, position + 2)
    view = memoryview(data)
    return ImageParts(join([view[:start], control, view[position:]], data))


def _skip_blocks(data: bytes, position: int) -> int:
    """Return the position after the sub-blocks that start at `position`."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1
