"""Strip texts, profiles, comments and additional frames from image files.

Pillow would read all of these into memory: 17 MB of compressed text become 250 MB. Malformed parts
are kept, so that Pillow reports them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from io import BytesIO

_MIN_SAVING = 1 << 16  # bytes; a file with less to strip is not copied
_MAX_EXIF = 1 << 16  # the maximum length of a JPEG segment
_PNG, _RIFF, _WEBP, _JPEG = b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP", b"\xff\xd8"
_PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_WEBP_PICTURE = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM"})
_JPEG_EXTRAS = frozenset({*range(0xE0, 0xF0), 0xFE})  # APP0 to APP15, and comments
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_JPEG_PICTURE = frozenset({0xDA, 0xD9})  # start of scan, end of image: only pixels follow

Span = tuple[int, int]


def strip_metadata(data: bytes) -> bytes:
    """Return the image file reduced to its first frame and EXIF data.

    Supports JPEG, PNG and WebP. Other formats are returned unchanged, and so are files with less
    than 64 KiB to strip. Pillow skips the metadata of GIF files.
    """
    spans = _spans_of(data)
    if spans is None:
        return data
    kept = sum(max(0, min(end, len(data)) - start) for start, end in spans(data))
    if len(data) - kept < _MIN_SAVING:
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
    """Yield the byte ranges to keep (https://www.w3.org/TR/png-3/#5Chunk-layout)."""
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
    """Yield the byte ranges of the WebP chunks to keep."""
    # https://developers.google.com/speed/webp/docs/riff_container
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
    """Yield byte ranges to keep (https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B)."""
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
    """Return the identifier of a JFIF, Exif or Adobe segment, else b""."""
    marker, start = data[position + 1], data[position + 4 : position + 10]
    known = ((0xE0, b"JFIF\0"), (0xE1, b"Exif\0\0"), (0xEE, b"Adobe"))
    return next((name for m, name in known if m == marker and start.startswith(name)), b"")
