"""Read JPEG files (https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from worker.files.image_metadata.parts import MAX_PROFILE, ImageParts, Selection

SCAN = b"\xff\xda"
_START, _END = b"\xff\xd8", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_SCAN_MARKER = re.compile(rb"\xff[^\x00\xff\x01\xd0-\xd7]")  # restart markers are part of a scan
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_APP0, _APP1, _APP2, _APP14, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_EXTRAS = frozenset({*range(0xE0, 0xF0), _COMMENT})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SCAN_OR_END = frozenset({0xDA, 0xD9})
# These segments define the colour space. Decoders ignore shorter ones.
_JFIF, _JFIF_SIZE = b"JFIF\0", 14
_ADOBE, _ADOBE_SIZE = b"Adobe", 12
_EXIF, _PROFILE = b"Exif\0\0", b"ICC_PROFILE\0"
_MIN_SCAN = 6  # bytes of the header of a scan of one component
_MAX_PARTS = 255  # of a profile
# Data in place of the end of a picture, with each restart marker. If pixels are missing, at least
# one of these changes them.
_RESTARTS = bytes(range(0xD0, 0xD8))
_TAILS = tuple(
    b"".join(data * 50 + bytes((0xFF, restart)) for restart in _RESTARTS)
    for data in (b"\xaa", b"\xc9\x96", b"\x5a\xc3\x99\x3c")
)


@dataclass(slots=True)
class _Header:
    """The segments before the first scan of a JPEG."""

    jfif: bytes = b""
    adobe: bytes = b""
    exif: bytes = b""
    profile: list[memoryview] = field(default_factory=list)
    components: bytes = b""
    is_progressive: bool = False

    def add(self, marker: int, segment: memoryview) -> None:
        """Add a segment, which starts with its marker and length."""
        body = segment[4:]
        if marker in _FRAMES:
            self.components = bytes(body[6::3])
            self.is_progressive = marker in _PROGRESSIVE
        if marker == _APP0 and _begins(body, _JFIF, _JFIF_SIZE):
            self.jfif = _shortened(marker, body, _JFIF_SIZE)
        elif marker == _APP14 and _begins(body, _ADOBE, _ADOBE_SIZE):
            self.adobe = _shortened(marker, body, _ADOBE_SIZE)
        elif marker == _APP1 and body[: len(_EXIF)] == _EXIF:
            self.exif = self.exif or bytes(body)
        elif marker == _APP2 and body[: len(_PROFILE)] == _PROFILE:
            self._add_profile(body[len(_PROFILE) :])

    def _add_profile(self, part: memoryview) -> None:
        if len(self.profile) <= _MAX_PARTS:
            self.profile.append(part)


def is_of(data: bytes) -> bool:
    """Return whether a file has the signature of a JPEG."""
    return data.startswith(_START)


def read(data: bytes) -> ImageParts:
    """Return the picture of a JPEG, its EXIF data and profile.

    Other application segments and comments are left out, except JFIF and Adobe segments. If only
    the end marker is missing, it is added.
    """
    header, scans, view, pieces = _Header(), len(data), memoryview(data), Selection(data)
    for marker, start, end in _segments(data):
        if marker in _SCAN_OR_END:
            scans = start
            break
        header.add(marker, view[start:end])
        if marker not in _EXTRAS:
            pieces.add(start, end)
    pieces.add(scans, len(data))
    picture = pieces.join(_START + header.jfif + header.adobe)
    is_open = data.rfind(_END, scans) < 0 and _has_all_scans(data, scans, header)
    if is_open:
        picture = picture.rstrip(b"\xff") + _END
    profile = _join_profile(header.profile)
    return ImageParts(picture, exif=header.exif, profile=profile, tails=_TAILS if is_open else ())


def _begins(body: memoryview, name: bytes, size: int) -> bool:
    return body[: len(name)] == name and len(body) >= size


def _shortened(marker: int, body: memoryview, size: int) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + size) + body[:size]


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, start and end of each segment; skips other data between segments."""
    position = len(_START)
    while found := _MARKER.search(data, position):
        start, position = found.span()
        marker = data[start + 1]
        if marker not in _BARE:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
            yield marker, start, position


def _join_profile(segments: Sequence[memoryview]) -> bytes:
    """Return the profile in ICC segments, or b"" if one is missing, repeated or too large.

    Source: https://www.color.org/specification/ICC.1-2022-05.pdf, B.4
    """
    count = len(segments)
    parts = {bytes(segment[:2]): segment[2:] for segment in segments}
    numbers = [bytes((n, count)) for n in range(1, count + 1)] if count <= _MAX_PARTS else []
    if parts.keys() != set(numbers) or sum(map(len, segments)) > MAX_PROFILE:
        return b""
    return b"".join(parts[number] for number in numbers)


def _has_all_scans(data: bytes, position: int, header: _Header) -> bool:
    """Return whether the headers of scans announce all bits of all coefficients.

    The last scan may still be incomplete.
    """
    missing = {(component, n) for component in header.components for n in range(64)}
    while found := _SCAN_MARKER.search(data, position):
        start = found.end() + 2
        position = found.end() + int.from_bytes(data[found.end() : start], "big")
        scan = data[start:position]
        if data[found.start() : found.end()] == SCAN and len(scan) >= _MIN_SCAN:
            missing -= _finished(scan, header)
    return bool(header.components) and not missing


def _finished(scan: bytes, header: _Header) -> set[tuple[int, int]]:
    """Return the coefficients that are complete after a scan, by its header."""
    components = scan[1:-3:2]
    first, last, bits = scan[-3:] if header.is_progressive else (0, 63, 0)
    low_bit = bits & 15
    numbers = range(first, last + 1) if low_bit == 0 else ()
    return {(component, n) for component in components for n in numbers}
