"""Read PNG files (https://www.w3.org/TR/png-3/)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from worker.files.image_metadata.icc import BT709, profile_of_codes, profile_of_gamma
from worker.files.image_metadata.parts import MAX_EXIF, MAX_PROFILE, ImageParts, Selection

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER, _PALETTE, _DATA, _END = b"IHDR", b"PLTE", b"IDAT", b"IEND"
_TRANSPARENCY, _EXIF = b"tRNS", b"eXIf"
_CODES, _PROFILE, _SRGB, _GAMMA, _CHROMATICITIES = b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"
# The minimum and maximum length of each ancillary chunk that affects the pixels.
_LENGTHS = {
    _TRANSPARENCY: (1, 256),
    _EXIF: (1, MAX_EXIF),
    _CODES: (4, 4),
    _PROFILE: (3, MAX_PROFILE),
    _SRGB: (1, 1),
    _GAMMA: (4, 4),
    _CHROMATICITIES: (32, 32),
}
_PIXELS = frozenset({_HEADER, _PALETTE, _DATA, _END})
_OF_PALETTES = frozenset({_PALETTE, _TRANSPARENCY})  # decoded for indexed images only
_DEPTH_AT, _COLOUR_TYPE_AT = 24, 25  # bytes of the file
_INDEXED = 3
_SAMPLES = {0: struct.Struct(">H"), 2: struct.Struct(">3H")}  # of tRNS, by colour type
_UNIT = 100_000  # of the numbers in gAMA and cHRM
_EXPONENTS = (0.1, 10)
_SRGB_EXPONENT, _EXPONENT_TOLERANCE, _CHROMATICITY_TOLERANCE = 2.2, 0.1, 0.01


def is_of(data: bytes) -> bool:
    """Return whether a file has the signature of a PNG."""
    return data.startswith(_SIGNATURE)


def read(data: bytes) -> ImageParts:
    """Return the pixels of a PNG without later frames, and the metadata that affects them.

    Ignores ancillary chunks with a wrong length, checksum or position, and all but the first of
    repeated ones.
    """
    if data[12:16] != _HEADER or len(data) <= _COLOUR_TYPE_AT:
        return ImageParts(_SIGNATURE)
    picture = _Picture(memoryview(data), data[_DEPTH_AT], data[_COLOUR_TYPE_AT], Selection(data))
    for kind, start, end in _chunks(data):
        picture.add(kind, start, end)
    return ImageParts(
        picture.pieces.join(_SIGNATURE),
        exif=picture.extras.get(_EXIF, b""),
        profile=_profile(picture.extras),
        transparent=picture.transparent,
        depth=picture.depth,
    )


@dataclass(slots=True)
class _Picture:
    """The chunks of a PNG that affect its pixels: those to decode, and ancillary ones by name."""

    file: memoryview
    depth: int
    colour_type: int
    pieces: Selection
    extras: dict[bytes, bytes] = field(default_factory=dict)
    met: set[bytes] = field(default_factory=set)

    @property
    def transparent(self) -> tuple[int, ...]:
        """Return the transparent grey value or RGB colour."""
        form, body = _SAMPLES.get(self.colour_type), self.extras.get(_TRANSPARENCY, b"")
        if form is None or len(body) < form.size:
            return ()
        return tuple(sample & (1 << self.depth) - 1 for sample in form.unpack_from(body))

    def add(self, kind: bytes, start: int, end: int) -> None:
        """Add the next chunk of the file."""
        is_indexed, is_kept = self.colour_type == _INDEXED, kind in _PIXELS
        if kind in _LENGTHS and kind not in self.extras and self._is_in_order(kind):
            chunk = self.file[start:end]
            if _is_valid(chunk):
                self.extras[kind] = bytes(chunk[8:-4])
                is_kept = kind == _TRANSPARENCY
        if is_kept and (is_indexed or kind not in _OF_PALETTES):
            self.pieces.add(start, end)
        self.met.add(kind)

    def _is_in_order(self, kind: bytes) -> bool:
        """Return whether an ancillary chunk may be here."""
        needs_palette = kind == _TRANSPARENCY and self.colour_type == _INDEXED
        is_late = _DATA in self.met and kind != _EXIF
        return not is_late and (_PALETTE in self.met or not needs_palette)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, start and end of each chunk, up to the last one of the image."""
    position, kind = len(_SIGNATURE), b""
    while position + 8 <= len(data) and kind != _END:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        yield kind, position, end
        position = end


def _is_valid(chunk: memoryview) -> bool:
    """Return whether an ancillary chunk has a valid length and checksum."""
    length, kind = struct.unpack_from(">I4s", chunk)
    least, most = _LENGTHS[kind]
    if not least <= length <= most or len(chunk) != 12 + length:
        return False
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _profile(extras: Mapping[bytes, bytes]) -> bytes:
    """Return the ICC profile of an image, or b"" for sRGB.

    The order is that of browsers: cICP, iCCP, sRGB, gAMA. Without gAMA, cHRM is ignored.
    """
    codes, gamma = extras.get(_CODES), extras.get(_GAMMA)
    if codes and (profile := profile_of_codes(codes)):
        return profile
    if profile := _inflate(extras.get(_PROFILE, b"")):
        return profile
    if gamma is None or _SRGB in extras:
        return b""
    return _profile_of_values(gamma, extras.get(_CHROMATICITIES))


def _inflate(chunk: bytes) -> bytes:
    """Return the profile of an iCCP chunk, or b"" if it is malformed or too large."""
    _, _, compressed = chunk.partition(b"\0")
    if compressed[:1] != b"\0":  # the compression method
        return b""
    try:
        profile = zlib.decompressobj().decompress(compressed[1:], MAX_PROFILE + 1)
    except zlib.error:
        return b""
    return profile if len(profile) <= MAX_PROFILE else b""


def _profile_of_values(gamma: bytes, chromaticities: bytes | None) -> bytes:
    """Return the profile of gAMA and cHRM, or b"" for sRGB and impossible values.

    Like libpng, takes values close to those of sRGB for sRGB, as programs write them for it.
    """
    (inverse,) = struct.unpack(">I", gamma)
    exponent = _UNIT / inverse if inverse else 0
    values = BT709
    if chromaticities:
        values = tuple(value / _UNIT for value in struct.unpack(">8I", chromaticities))
    is_close = all(
        abs(a - b) <= _CHROMATICITY_TOLERANCE for a, b in zip(values, BT709, strict=True)
    )
    is_srgb = is_close and abs(exponent - _SRGB_EXPONENT) <= _EXPONENT_TOLERANCE
    if is_srgb or not _EXPONENTS[0] <= exponent <= _EXPONENTS[1]:
        return b""
    return profile_of_gamma(values, exponent)
