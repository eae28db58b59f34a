"""Image files without what is no picture: texts, profiles, comments, frames after the first.

A decoder reads all of it into memory, some of it several times over: 17 MB of compressed text
become 250 MB. What is malformed is left as it is, for the decoder to find fault with.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from io import BytesIO

_WORTH_IT = 1 << 16  # bytes; with less to leave out, a file stays as it is
_MAX_EXIF = 1 << 16  # as much as fits into a JPEG's segment
_PNG, _RIFF, _WEBP, _JPEG = b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP", b"\xff\xd8"
_PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_WEBP_PICTURE = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM"})
_JPEG_EXTRAS = frozenset({*range(0xE0, 0xF0), 0xFE})  # APP0 to APP15, and comments
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_JPEG_PICTURE = frozenset({0xDA, 0xD9})  # from here on it is pixels

Span = tuple[int, int]


def strip_metadata(data: bytes) -> bytes:
    """Return an image file of the same first picture and EXIF, less what takes much room.

    JPEG, PNG and WebP; others come back as they are, because Pillow passes over what a GIF
    holds besides.
    """
    spans = _spans_of(data)
    if spans is None:
        return data
    kept = sum(max(0, min(end, len(data)) - start) for start, end in spans(data))
    if len(data) - kept < _WORTH_IT:
        return data
    output = BytesIO()
    whole = memoryview(data)
    for start, end in spans(data):
        output.write(whole[start:end])
    if data.startswith(_RIFF):
        output.seek(len(_RIFF))
        output.write(struct.pack("<I", kept - 8))
    return output.getvalue()


def _spans_of(data: bytes) -> Callable[[bytes], Iterator[Span]] | None:
    if data.startswith(_PNG):
        return _png
    if data.startswith(_RIFF) and data[8:12] == _WEBP:
        return _webp
    return _jpeg if data.startswith(_JPEG) else None


def _png(data: bytes) -> Iterator[Span]:
    """Go through what to keep: https://www.w3.org/TR/png-3/#5Chunk-layout."""
    yield 0, len(_PNG)
    position, has_exif = len(_PNG), False
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        is_exif = kind == b"eXIf" and length <= _MAX_EXIF and not has_exif
        has_exif |= is_exif
        if kind in _PNG_PICTURE or is_exif:
            yield position, end
        position = end
    yield position, len(data)


def _webp(data: bytes) -> Iterator[Span]:
    """Go through what to keep: https://developers.google.com/speed/webp/docs/riff_container."""
    yield 0, 12
    position, met = 12, set()
    whole = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while position + 8 <= whole:
        kind, length = struct.unpack_from("<4sI", data, position)
        end = position + 8 + length + length % 2
        is_first = kind not in met and (kind == b"ANMF" or length <= _MAX_EXIF)
        if kind in _WEBP_PICTURE or (kind in {b"ANMF", b"EXIF"} and is_first):
            met.add(kind)
            yield position, end
        position = end


def _jpeg(data: bytes) -> Iterator[Span]:
    """Go through what to keep: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B."""
    position, met = 0, set()
    while position + 4 <= len(data) and data[position] == 0xFF:  # noqa: PLR2004
        marker = data[position + 1]
        if marker in _JPEG_PICTURE:
            break
        end = position + _jpeg_length(data, position)
        name = _jpeg_extra(data, position)
        if marker not in _JPEG_EXTRAS or (name and name not in met):
            met.add(name)
            yield position, end
        position = end
    yield position, len(data)


def _jpeg_length(data: bytes, position: int) -> int:
    marker = data[position + 1]
    if marker == 0xFF:  # noqa: PLR2004 - a fill byte before a marker
        return 1
    if marker in _JPEG_BARE:
        return 2
    length: int = struct.unpack_from(">H", data, position + 2)[0]
    return 2 + max(2, length)


def _jpeg_extra(data: bytes, position: int) -> bytes:
    """Name a segment that the picture needs: what its colours are, and which way is up."""
    marker, start = data[position + 1], data[position + 4 : position + 10]
    known = ((0xE0, b"JFIF\0"), (0xE1, b"Exif\0\0"), (0xEE, b"Adobe"))
    return next((name for m, name in known if m == marker and start.startswith(name)), b"")
